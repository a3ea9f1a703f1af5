"""`consilium server run` that a signal ends says so and how it goes on; and where a run may not be written."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from common.errors import ConsiliumError
from server.network.flower import COMMAND_S
from server.network.home import Home
from server.network.runs import STOPPING_S
from tests.e2e.deployed import wait_until
from tests.server.network.conftest import CONSILIUM, WAIT_S, Command, heed, tree

WAITS = "the SuperLink does not answer"


@contextlib.contextmanager
def _waiting(home: Home, log: Path, *, without_hangup: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A run that waits for the SuperLink. without_hangup: as under nohup."""
    words = [CONSILIUM, "server", "run", str(home.folder)]
    with open(log, "wb") as file:
        run = subprocess.Popen(words, stdout=file, stderr=file, preexec_fn=partial(heed, hangup=not without_hangup))
    try:
        wait_until(lambda: WAITS in log.read_text(), "the run", WAIT_S)
        yield run
        run.wait(timeout=WAIT_S)
    finally:
        run.kill()
        run.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_ended_by_a_signal_says_how_it_goes_on(number: signal.Signals, home: Home) -> None:
    log = home.folder.parent / "run.log"
    with _waiting(home, log) as run:
        run.send_signal(number)
    said = log.read_text()
    assert run.returncode == 128 + number
    assert f"The run pauses, it was ended by {number.name}. Nothing is lost" in said
    assert f"it goes on with: consilium server run {home.folder} --out {home.runs}" in said
    assert "--resume" not in said and "Traceback" not in said


def test_under_nohup_the_end_of_the_terminal_is_nothing(home: Home) -> None:
    log = home.folder.parent / "run.log"
    with _waiting(home, log, without_hangup=True) as run:
        run.send_signal(signal.SIGHUP)
        run.send_signal(signal.SIGTERM)
    assert run.returncode == 128 + signal.SIGTERM and "ended by SIGTERM" in log.read_text()


@pytest.mark.parametrize("inside", [".", "keys", "runs", "sites/north", "../home/state/x"])
def test_a_run_is_not_written_into_the_coordinators_own_folder(inside: str, home: Home, consilium: Command) -> None:
    before = tree()
    with pytest.raises(ConsiliumError, match=r"is in the coordinator's own folder; choose another --out, in .*/runs"):
        consilium("server", "run", home.folder, "--out", home.folder / inside)
    assert {path for path in tree() if not path.endswith("run.lock")} == set(before)


def test_a_stop_waits_longer_than_what_the_run_may_be_waiting_for() -> None:
    assert STOPPING_S > 2 * COMMAND_S
