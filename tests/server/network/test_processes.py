"""Processes that have to be there, with real ones: started again with longer pauses, and nothing is left behind."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConsiliumError
from server.network import processes
from server.network.locks import is_held, only_one
from server.network.processes import FIRST_PAUSE_S, Process
from tests.e2e.deployed import wait_until

WAIT_S = 30.0
PARENT = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process("parent", (sys.executable, "-c", PARENT), os.environ, tmp_path / "parent.log")
    yield process
    process.stop()


def _child(process: Process) -> int:
    return int(wait_until(lambda: process.log.exists() and process.log.read_text().split(), "the child", WAIT_S)[-1])


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_stop_ends_what_it_started_as_well(process: Process) -> None:
    process.start()
    own, child = process.pid, _child(process)
    assert own is not None and not _gone(child)
    process.stop()
    assert process.pid is None and _gone(own)
    wait_until(lambda: _gone(child), "the end of the child", WAIT_S)


def test_a_child_that_outlives_its_parent_is_ended_with_the_group(process: Process) -> None:
    process.start()
    child = _child(process)
    os.kill(process.pid or 0, signal.SIGKILL)
    wait_until(process.ended, "the end", WAIT_S)
    assert process.last_status == -signal.SIGKILL and not _gone(child)
    process.end_group()
    wait_until(lambda: _gone(child), "the end of the child", WAIT_S)


def test_each_start_after_a_failure_waits_longer(tmp_path: Path) -> None:
    process = Process("fails", (sys.executable, "-c", "raise SystemExit(7)"), os.environ, tmp_path / "fails.log")
    pauses = []
    for _ in range(3):
        wait_until(process.due, "the pause", WAIT_S)
        process.start()
        began = time.monotonic()
        wait_until(process.ended, "the end", WAIT_S)
        assert not process.ended() and process.last_status == 7
        pauses.append(process._pause_s)
        assert process.due() == (time.monotonic() - began >= process._pause_s)
    assert pauses == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S] and process.starts == 3


TALKS = """
import sys, time
from pathlib import Path
for turn in range(3):
    print(str(turn) * 300_000, flush=True)
    while not Path(sys.argv[1], str(turn)).exists():
        time.sleep(0.01)
"""


def test_a_log_is_set_aside_while_it_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MOST_LOG_BYTES", 300_000)
    process = Process("talks", (sys.executable, "-c", TALKS, str(tmp_path)), os.environ, tmp_path / "talks.log")
    process.start()
    try:
        for turn in range(3):
            wait_until(lambda: process.log.stat().st_size == 300_001, "a long log", WAIT_S)
            process.turn_log_over()
            before = tmp_path / "talks.log.before"
            assert process.log.read_bytes() == b"" and before.read_text() == str(turn) * 300_000 + "\n"
            assert before.stat().st_mode & 0o077 == 0 and process.pid is not None
            process.turn_log_over()
            assert before.stat().st_size, "a short one stays"
            (tmp_path / str(turn)).touch()
    finally:
        process.stop()


def test_a_program_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    process = Process("link", (str(tmp_path / "absent"),), os.environ, tmp_path / "link.log")
    for pause_s in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S):
        with pytest.raises(ConsiliumError, match=r"^link: cannot be started: No such file or directory\.$"):
            process.start()
        assert not process.due() and process._pause_s == pause_s


def test_its_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "sleep.log"
    words = f"""
import os, time
from pathlib import Path
from server.network.processes import Process
process = Process("sleep", ("sleep", "600"), os.environ, Path({str(log)!r}))
process.start()
Path({str(tmp_path / "pid")!r}).write_text(str(process.pid))
time.sleep(600)
"""
    supervisor = Process("supervisor", (sys.executable, "-c", words), os.environ, tmp_path / "supervisor.log")
    supervisor.start()
    pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the pid", WAIT_S))
    os.kill(supervisor.pid or 0, signal.SIGKILL)
    wait_until(lambda: _gone(pid), "the end of the child", WAIT_S)


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with only_one(path, "taken."):
        assert is_held(path)
        with pytest.raises(ConsiliumError, match="taken"), only_one(path, "taken."):
            raise AssertionError
    assert not is_held(path)
