"""What a run waits for, and what it says when it pauses; whole runs over real processes are in tests/e2e."""

from pathlib import Path

import pytest

from common.files import read_plan
from server.network.drive import Drive, Paused, sites_of
from server.network.following import Following
from server.network.home import load_home
from tests.server.network.conftest import Command, collect, enrol, found, hospitals


def test_a_hospital_is_waited_for_from_the_roster_on_that_holds_it(consilium: Command) -> None:
    those = found(consilium, "north", "south", "west")
    home = load_home(Path("home"))
    plan = read_plan(home.plan)
    (east,) = hospitals("east").values()
    enrol(consilium, east)
    assert sites_of(home, plan) == ("north", "south", "west")
    collect(consilium, *those.values())
    assert sites_of(home, plan) == ("east", "north", "south", "west")


class Told(Drive):
    """Its attempts end as this list says: with the app's own reason, or, in brackets, before the app had begun."""

    def _attempt(self, following: Following, request: Path) -> str:
        following.again()
        reason = REASONS.pop(0)
        if not reason.startswith("("):
            following.stopped = {"reason": reason, "resumable": True}
        return reason


REASONS: list[str] = []


@pytest.mark.parametrize(
    ("reasons", "last"),
    [
        (
            ["2 site(s) enrolled (b: paused).", "(not started)"],
            "(not started) Before that: 2 site(s) enrolled (b: paused).",
        ),
        (["(not started)", "2 site(s) enrolled (b: paused)."], "2 site(s) enrolled (b: paused)."),
        (["one.", "two."], "two."),
    ],
)
def test_a_pause_says_what_the_app_said_last(reasons: list[str], last: str, consilium: Command) -> None:
    found(consilium, "north", "south", "west")
    home, said = load_home(Path("home")), []
    home.state.mkdir(exist_ok=True)
    REASONS[:] = reasons
    drive = Told(home, read_plan(home.plan), Path("out").absolute(), said.append, said.append, wait_s=0.5)
    with pytest.raises(Paused) as paused:
        drive.run()
    assert f"no round was finished for 0.5 s: {last.rstrip('.')}. Nothing is lost" in str(paused.value)
    assert not REASONS
