"""Runner and SuperNode, as real processes: neither is left alone by the other's end, whatever it was doing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.network.gatekeeper import Gatekeeper, gatekeeper
from tests.client.network.test_supervisor import DEADLINE_S, ROOT, runs, until

STUCK = Path(__file__).with_name("stuck_runner.py")


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Gatekeeper]:
    with gatekeeper(tmp_path) as it:
        yield it


@pytest.fixture
def stuck(keeper: Gatekeeper, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A runner in the middle of a task, and its SuperNode's process."""
    command = [sys.executable, str(STUCK), str(tmp_path), str(keeper.port), str(tmp_path / "began")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FLWR_HOME": str(tmp_path / "flwr")}
    environment |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        until((tmp_path / "began").exists, "the task")
        until(lambda: keeper.asked("activate-node"), "the SuperNode")
        threads = Path(f"/proc/{process.pid}/task").glob("*/children")
        (supernode,) = (int(child) for path in threads for child in path.read_text().split())
        yield process, supernode
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_runner_whose_supernode_is_killed_in_the_middle_of_a_task_ends_and_fails(
    stuck: tuple[subprocess.Popen[bytes], int],
) -> None:
    runner, supernode = stuck
    os.kill(supernode, signal.SIGKILL)
    assert runner.wait(DEADLINE_S) == 1
    assert b"in the middle of a task" in runner.stderr.read()


def test_a_supernode_whose_runner_is_killed_ends(stuck: tuple[subprocess.Popen[bytes], int]) -> None:
    runner, supernode = stuck
    runner.kill()
    until(lambda: not runs(supernode), "its end")


def test_sigterm_in_the_middle_of_a_task_ends_both(stuck: tuple[subprocess.Popen[bytes], int]) -> None:
    runner, supernode = stuck
    runner.terminate()
    assert runner.wait(DEADLINE_S) == 0 and not runs(supernode)
