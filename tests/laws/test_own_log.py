"""What went wrong at a site stays in that site's own log."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from client import work
from client.app import app
from client.config import find_sites
from client.sessions import close_sessions
from common.errors import DataError
from common.plan import Plan
from experiments.simulate import prepare_sites
from server.identity import act_as_coordinator
from server.journal import PLAN
from tests.conftest import small_plan
from tests.laws.one_site import OneSite, no_file_beyond
from tests.laws.test_door import SECRET, _message


def test_logs_of_sites_are_apart_and_private(
    plan: Plan, write_sites: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act_as_coordinator()
    (tmp_path / PLAN).write_bytes(plan.canonical)
    sites = prepare_sites(plan, find_sites(write_sites()), tmp_path)
    contexts = {name: Context(1, 1, {"site-config": str(p)}, RecordDict(), {}) for name, p in sites.items()}
    for context in contexts.values():
        app(_message("query.declare", plan, stage=9), context)  # opens every log

    def fail(*_: object) -> None:
        raise DataError(SECRET)

    monkeypatch.setattr(work, "declare", fail)
    app(_message("query.declare", plan), contexts["south"])
    for name, path in sites.items():
        log = path.parent / "site.log"
        assert (SECRET in log.read_text()) == (name == "south")
        assert log.stat().st_mode & 0o077 == 0
    close_sessions()


def test_a_line_that_cannot_be_written_is_shown_nowhere_else(
    site: Callable[[Plan], OneSite], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own log prints such a line, its arguments and the error behind it on the process's terminal."""
    plan = small_plan(aggregation={"secure": False})
    one = site(plan)

    def fail(*_: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(work, "declare", fail)
    one.ask(plan, "query.declare")
    with no_file_beyond((one.folder / "site.log").stat().st_size):
        reply = one.ask(plan, "query.declare")
    shown = capsys.readouterr().err
    assert reply.has_error() and SECRET not in repr(reply)
    assert SECRET not in shown and shown == f"{one.folder / 'site.log'}: a line of this log could not be written.\n"
