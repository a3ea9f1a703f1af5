"""The comparison when something goes wrong: a coordinator that dies or asks too much, a site that says nonsense."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from client.comparison import CODE, UNLIKE
from client.ledger.ledger import DIFFERENT_QUESTIONS
from client.policy.policy import POLICY_FILE, SIMULATED, write_policy
from client.sessions import close_sessions
from common.associations import BINS, STAGE, Associations
from server.dashboard.report import page
from server.phases import comparison
from server.terminal import Progress
from tests.secure import Killed, Wire, build
from tests.server.unlike import ask_site, events, silent, tables


@pytest.mark.parametrize("after", [False, True], ids=["before it is asked", "after it is answered"])
def test_coordinator_killed_at_the_comparison_goes_on(after: bool, tmp_path: Path, monkeypatch) -> None:
    honest: Callable[..., Any] = comparison.ask

    def killed(*arguments: Any, **named: Any) -> None:
        if after:
            honest(*arguments, **named)
        raise Killed

    whole = build(tmp_path / "whole", 4, tables=tables())
    federation, wire = build(tmp_path / "killed", 4, tables=tables()), Wire()
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "ask", killed)
        with pytest.raises(Killed):
            federation.run(wire)
    result = federation.run(wire)
    assert result["unlike"] == whole.run()["unlike"] and result["unlike"]["sites"] == ["south"]
    assert (federation.out / "model.safetensors").read_bytes() == (whole.out / "model.safetensors").read_bytes()
    assert wire.asked["south", "query.survey"] == 3 and wire.asked["south", "query.compare"] == 1 + after


def test_a_site_refuses_other_lengths_and_more_than_three_questions(tmp_path: Path) -> None:
    """Each different question could draw one more bit of the rows: there are no more than three."""
    federation = build(tmp_path, 3, secure=False, tables=tables(3, wrong=None))
    layout = Associations(federation.plan)
    size = layout.edges_size + layout.size
    for wrong in (None, np.zeros(size - 1, "f4"), np.zeros(size + 1, "f4")):
        assert ask_site(federation, wrong) == "malformed_request"
    damaged = federation.sites["south"].parent / UNLIKE
    damaged.write_text("{")
    edges = np.tile(np.arange(1, BINS, dtype="f4") / BINS, len(layout.measured))

    def question(number: int) -> np.ndarray:
        return np.concatenate([edges, np.full(layout.size, 0.1 * number, "f4")])

    assert ask_site(federation, edges[::-1].copy(), kind="query.survey", stage=STAGE) == "malformed_request"
    assert {ask_site(federation, question(0), stage=stage) for stage in (1, 2, 3)} == {"malformed_request"}
    codes = [ask_site(federation, question(number)) for number in range(DIFFERENT_QUESTIONS + 2)]
    assert json.loads(damaged.read_text())["plan_hash"] == federation.plan.hash
    assert codes == [""] * DIFFERENT_QUESTIONS + ["asked_too_often"] * 2
    close_sessions()


def test_a_site_of_few_patients_and_one_under_noise_compare_nothing(tmp_path: Path) -> None:
    small = build(tmp_path / "few", 3, secure=False)
    rules = SIMULATED | {"limits": SIMULATED["limits"] | {"min_patients": 1000}}
    write_policy(small.sites["south"].parent / POLICY_FILE, rules)
    layout = Associations(small.plan)
    assert ask_site(small, np.zeros(layout.edges_size + layout.size, "f4")) == "too_few_patients"
    privacy = {"unit": "patient", "noise": "local", "noise_multiplier": 1.0}
    noised = build(tmp_path / "noised", 3, secure=False, privacy=privacy)
    assert ask_site(noised, np.zeros(layout.edges_size + layout.size, "f4")) == "malformed_request"
    close_sessions()


@pytest.mark.parametrize(
    "reply",
    [lambda m, r: r.content["opinion"].update({"code": "<b>"}), lambda m, r: r.content.pop("opinion")],
    ids=["another word", "nothing"],
)
def test_site_that_answers_with_something_else_is_named(reply: Any, tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 4, secure=False, tables=tables(wrong=None)), Wire()
    wire.change("west", "query.compare", lambda message, honest: (reply(message, honest), honest)[1], time=0)
    assert federation.run(wire)["unlike"] == {"sites": [], "not_told": [], "failed": ["west"], "asked": 4}
    assert ("west", "wrong_shape") in [(each["site"], each["code"]) for each in events(federation, "site_failed")]


def test_terminal_and_page_name_the_site_and_the_code(tmp_path: Path) -> None:
    shown = StringIO()
    Progress(Console(file=shown, width=200))({"event": "site_unlike", "site": "south", "code": CODE})
    assert shown.getvalue().startswith(f"warning: south says that its data are unlike the others' ({CODE})")
    federation = build(tmp_path, 4, secure=False, tables=tables())
    silent(federation, "west")
    text = page(federation.run())
    section = text[text.index('id="unlike"') :]
    section = section[: section.index("</section>")]
    assert "south" in section and CODE in section and "west" in section and "does not tell" in section
    assert "east" not in section
