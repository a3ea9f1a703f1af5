"""Runs over the coordinator's real processes, without hospitals: one at a time, and none goes on unseen."""

import signal
import subprocess
from pathlib import Path

import pytest

from common.errors import ConsiliumError, RunError
from server.journal import LOCK
from server.network.home import Home
from server.network.locks import is_held
from server.network.runs import FOLLOWED, RUNNING
from tests.e2e.deployed import wait_until
from tests.server.network.conftest import CONSILIUM, WAIT_S, Command, heed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flower")]


def _ended_by(number: signal.Signals, home: Home, out: Path) -> tuple[int, str]:
    """A run whose command gets this signal while its app waits for hospitals: its exit status, and what it said."""
    words = [CONSILIUM, "server", "run", str(home.folder), "--out", str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed) as run:
        try:
            wait_until(lambda: is_held(out / LOCK), "the app", WAIT_S)
            run.send_signal(number)
            said, _ = run.communicate(timeout=WAIT_S)
        finally:
            run.kill()
    return run.returncode, said


def _killed(home: Home, out: Path) -> None:
    """A run that nobody follows any more, and whose app goes on."""
    _ended_by(signal.SIGKILL, home, out)
    assert is_held(out / LOCK) and not is_held(home.state / FOLLOWED)


def test_a_run_whose_terminal_ends_is_stopped_in_order(serving: Home, consilium: Command, tmp_path: Path) -> None:
    out = tmp_path / "one"
    status, said = _ended_by(signal.SIGHUP, serving, out)
    assert status == 128 + signal.SIGHUP and "The run pauses, it was ended by SIGHUP. Nothing is lost" in said
    assert f"it goes on with: consilium server run {serving.folder} --out {out}" in said
    wait_until(lambda: not is_held(out / LOCK), "the end of its app", WAIT_S)
    assert consilium("server", "stop", serving.folder) == "No run goes on.\n"


def test_a_run_that_nobody_follows_is_seen_stopped_and_never_doubled(
    serving: Home, consilium: Command, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    _killed(serving, one)
    with pytest.raises(RunError, match=rf"{one}: goes on already; .* --out {one}` follows it, .* ends it"):
        consilium("server", "run", serving.folder, "--out", two)
    assert not two.exists() and is_held(one / LOCK)
    assert f"run {one}: no round yet, goes on until it is cut off" in consilium("server", "status", serving.folder)
    said = consilium("server", "stop", serving.folder)
    assert f"{one}: goes on without `consilium server run`; it is stopped." in said and not is_held(one / LOCK)
    assert consilium("server", "stop", serving.folder) == "No run goes on.\n"

    _killed(serving, two)
    (serving.state / RUNNING).unlink()  # it was killed before it could note what it had begun
    with pytest.raises(RunError, match="of Flower, which was not begun here: goes on already"):
        consilium("server", "run", serving.folder, "--out", one)
    assert "of Flower, which was not begun here: goes on;" in consilium("server", "status", serving.folder)
    assert "it is stopped" in consilium("server", "stop", serving.folder)
    assert consilium("server", "stop", serving.folder) == "No run goes on.\n"
    wait_until(lambda: not is_held(two / LOCK), "the end of its app", WAIT_S)


def test_stop_all_ends_the_processes_though_a_run_does_not_end(
    serving: Home, consilium: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the run hangs: it holds its lock, and never looks whether it was asked to stop."""
    from server.network import runs
    from server.network.locks import only_one

    monkeypatch.setattr(runs, "STOPPING_S", 1.0)
    with only_one(serving.state / FOLLOWED, "held already."):
        with pytest.raises(ConsiliumError, match="the run has not ended after 1 s"):
            consilium("server", "stop", serving.folder)
        said = consilium("server", "stop", serving.folder, "--all")
    assert "the run has not ended after 1 s" in said and "SuperLink, SuperExec and gateway have ended." in said
