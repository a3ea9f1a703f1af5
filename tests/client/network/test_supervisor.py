"""The supervisor, as real processes: what ends is started again, and nothing is ever left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client.network.supervisor import LOCK, LOOK_S, NOT_READY, STATUS
from client.network.worker import Backoff

ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).with_name("worker_for_tests.py")
DEADLINE_S = 60.0
Start = Callable[..., subprocess.Popen[bytes]]


def until(condition: Callable[[], Any], what: str, *, timeout_s: float = DEADLINE_S) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)
    return found


def runs(pid: int) -> bool:
    """Whether this process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(mode) starts a supervisor over a worker that notes its processes in tmp_path."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(mode: str = "serve", *, ready: bool = True) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "client.network.supervisor", str(tmp_path), "--"]
        work = [sys.executable, str(WORKER), str(tmp_path), mode]
        started.append(subprocess.Popen([*command, *work], cwd=ROOT, stderr=subprocess.PIPE))
        if ready:
            until(lambda: (tmp_path / "worker").exists(), "the worker")
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()
    for name in ("worker", "inner"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((tmp_path / name).read_text()), signal.SIGKILL)


def pid(folder: Path, name: str) -> int:
    return int((folder / name).read_text())


def said(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / STATUS).read_text()))


def started_again(folder: Path, kill: str) -> None:
    """Kill one process with SIGKILL; afterwards both are others, and the first two are gone."""
    before = {name: pid(folder, name) for name in ("worker", "inner")}
    for name in before:
        (folder / name).unlink()
    os.kill(before[kill], signal.SIGKILL)
    until(lambda: (folder / "worker").exists(), "another worker")
    assert {pid(folder, name) for name in before}.isdisjoint(before.values())
    assert not any(map(runs, before.values()))


@pytest.mark.parametrize("kill", ["worker", "inner"])
def test_what_is_killed_is_started_again_and_takes_the_other_with_it(start: Start, tmp_path: Path, kill: str) -> None:
    start()
    assert said(tmp_path)["state"] == "running" and said(tmp_path)["restarts"] == 0
    started_again(tmp_path, kill)
    until(lambda: said(tmp_path)["state"] == "running", "its status")
    assert said(tmp_path)["restarts"] == 1
    if kill == "worker":
        assert "SIGKILL" in said(tmp_path)["last_end"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(start: Start, tmp_path: Path, number: int) -> None:
    supervisor = start()
    supervisor.send_signal(number)
    assert supervisor.wait(DEADLINE_S) == 0
    assert not runs(pid(tmp_path, "worker")) and not runs(pid(tmp_path, "inner"))
    assert said(tmp_path)["state"] == "stopped"


@pytest.mark.slow
def test_a_process_that_ignores_sigterm_is_killed(start: Start, tmp_path: Path) -> None:
    supervisor = start("deaf")
    supervisor.terminate()
    assert supervisor.wait(DEADLINE_S) == 0
    assert not runs(pid(tmp_path, "worker")) and not runs(pid(tmp_path, "inner"))


def test_a_machine_that_slept_goes_on(start: Start, tmp_path: Path) -> None:
    supervisor = start()
    for _ in range(2):
        supervisor.send_signal(signal.SIGSTOP)
        time.sleep(2 * LOOK_S)  # what is tested: longer than one look
        supervisor.send_signal(signal.SIGCONT)
        started_again(tmp_path, "worker")
    assert supervisor.poll() is None and said(tmp_path)["restarts"] == 2


def test_nothing_outlives_a_supervisor_that_is_killed(start: Start, tmp_path: Path) -> None:
    supervisor = start()
    supervisor.kill()
    supervisor.wait()
    until(lambda: not runs(pid(tmp_path, "worker")) and not runs(pid(tmp_path, "inner")), "the end of both")


def test_sigterm_while_it_waits_to_start_again_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    supervisor = start()
    for _ in range(3):  # so that the wait is some seconds
        until(lambda: (tmp_path / "worker").exists(), "the worker")
        worker = pid(tmp_path, "worker")
        for name in ("worker", "inner"):
            (tmp_path / name).unlink()
        os.kill(worker, signal.SIGKILL)
        until(lambda: said(tmp_path)["state"] == "waiting", "the wait")
    supervisor.terminate()
    assert supervisor.wait(DEADLINE_S) == 0
    assert said(tmp_path)["state"] == "stopped" and not (tmp_path / "worker").exists()


def test_one_for_each_home(start: Start, tmp_path: Path) -> None:
    first = start()
    second = start(ready=False)
    assert second.wait(DEADLINE_S) == 1
    assert b"is running already" in second.stderr.read() and first.poll() is None
    assert pid(tmp_path, LOCK) == first.pid


def test_what_a_person_has_to_mend_ends_the_first_start(start: Start, tmp_path: Path) -> None:
    supervisor = start("unready", ready=False)
    assert supervisor.wait(DEADLINE_S) == NOT_READY
    assert said(tmp_path)["state"] == "stopped" and said(tmp_path)["restarts"] == 0


def test_the_worker_gets_flowers_settings_and_no_terminal(tmp_path: Path) -> None:
    script = "import os, sys; open(sys.argv[1], 'w').write(repr((dict(os.environ), sys.stdin.read())))"
    work = [sys.executable, "-c", f"{script}; sys.exit({NOT_READY})", str(tmp_path / "seen")]
    command = [sys.executable, "-m", "client.network.supervisor", str(tmp_path), "--", *work]
    subprocess.run(command, cwd=ROOT, check=False, timeout=DEADLINE_S)
    environment, typed = eval((tmp_path / "seen").read_text())
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0" and environment["FLWR_HOME"] == str(tmp_path / "flwr")
    assert environment["PATH"] == os.environ["PATH"] and typed == ""


def test_the_wait_doubles_up_to_a_limit_and_begins_anew_after_a_steady_run() -> None:
    backoff = Backoff(first_s=1, most_s=15, steady_s=60)
    assert [backoff.after(0) for _ in range(6)] == [1, 2, 4, 8, 15, 15]
    assert [backoff.after(61), backoff.after(0)] == [1, 2]
