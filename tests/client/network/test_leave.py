"""A hospital stops and leaves, also from another container, whose process numbers are others; and nothing loops."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client import brake
from client.config import SiteConfig
from client.network import leave
from client.network.home import Home
from client.network.leave import forget
from client.network.status import supervisor_pid
from client.network.supervisor import NOT_READY, STOP
from common.errors import ConsiliumError
from tests.client.network.conftest import Command, invite, site
from tests.client.network.test_supervisor import DEADLINE_S, ROOT, WORKER, runs, until

CONSILIUM = str(Path(sys.executable).parent / "consilium")
ELSEWHERE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def joined(consilium: Command) -> Command:
    consilium("site", "join", "north", invite(consilium)["north"])
    return consilium


@pytest.fixture
def run() -> Iterator[Start]:
    """run(*words) starts a process, which is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: object) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        command = list(map(str, words))
        started.append(
            subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def supervised(run: Start, *before: str, mode: str = "serve", options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """north's supervisor, over a worker that notes its processes; `before` it stands what starts it."""
    state = Home.of(site()).state
    state.mkdir(exist_ok=True)
    (state / "worker").unlink(missing_ok=True)
    work = (sys.executable, WORKER, state, mode)
    process = run(*before, sys.executable, "-m", "client.network.supervisor", *options, state, "--", *work)
    if mode == "serve":
        until(lambda: (state / "worker").exists(), "the worker")
    return process


def said(process: subprocess.Popen[str], *, status: int = 0) -> str:
    """What it printed, once it has ended with this exit status."""
    text, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == status, text
    return text


def test_a_file_ends_all_in_order_and_one_from_before_ends_nothing(joined: Command, run: Start) -> None:
    state = Home.of(site()).state
    state.mkdir()
    (state / STOP).touch()
    process = supervised(run)
    workers = [int((state / name).read_text()) for name in ("worker", "inner")]
    assert not (state / STOP).exists() and supervisor_pid(state) == process.pid
    assert "has stopped" in joined("site", "stop", "north")
    assert "asked to stop" in said(process) and not any(map(runs, workers)) and not (state / STOP).exists()
    assert "was not running" in joined("site", "stop", "north")


def test_a_file_ends_it_also_while_it_waits_to_start_again(joined: Command, run: Start) -> None:
    process, state = supervised(run), Home.of(site()).state
    for _ in range(3):  # so that the wait is some seconds
        until(lambda: (state / "worker").exists(), "the worker")
        worker = int((state / "worker").read_text())
        (state / "worker").unlink()
        os.kill(worker, signal.SIGKILL)
        until(lambda: "waiting" in (state / "status.json").read_text(), "the wait")
    joined("site", "stop", "north")
    assert "asked to stop" in said(process) and not (state / "worker").exists()


@pytest.mark.parametrize("verb", [("stop",), ("leave", "--confirm", "north")], ids=["stop", "leave"])
def test_it_stops_and_leaves_from_where_process_numbers_are_others(joined: Command, run: Start, verb: str) -> None:
    if shutil.which("unshare") is None or subprocess.run([*ELSEWHERE, "true"], capture_output=True).returncode:
        pytest.skip("no other pid namespace can be made here")
    process, state = supervised(run, *ELSEWHERE), Home.of(site()).state
    assert supervisor_pid(state) == 1
    word, *options = verb
    told = said(run(*ELSEWHERE, CONSILIUM, "site", word, "north", *options))
    assert "has stopped" in told and supervisor_pid(state) is None
    assert "asked to stop" in said(process)
    left = word == "leave"
    assert brake.is_paused(site()) is left and (list(Path("north/network").iterdir()) == []) is left


def test_who_has_left_does_not_start_and_the_unit_does_not_try_again(joined: Command, run: Start) -> None:
    joined("site", "leave", "north", "--confirm", "north")
    ended = run(CONSILIUM, "site", "start", "north")
    assert "has not joined yet" in said(ended, status=2)
    unit = (ROOT / "deploy" / "systemd" / "consilium-site.service").read_text()
    prevented = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)[0].split()
    assert {str(ended.returncode), str(NOT_READY)} <= set(prevented) and "\nRestart=on-failure\n" in unit


def waits_for_a_person(process: subprocess.Popen[str], *words: str) -> None:
    """It says all of these, holds nothing, goes on, and ends well with SIGTERM."""
    assert process.stdout is not None
    text = ""
    while "until a person starts this container again" not in text:
        line = process.stdout.readline()
        assert line, f"it ended with status {process.wait(DEADLINE_S)}: {text}"
        text += line
    assert all(word in text for word in words), text
    assert process.poll() is None and supervisor_pid(Home.of(site()).state) is None
    process.terminate()
    said(process)


def test_in_a_container_it_waits_where_it_would_be_started_again_for_ever(joined: Command, run: Start) -> None:
    stopped = supervised(run, options=("--stay",))
    joined("site", "stop", "north")
    waits_for_a_person(stopped, "asked to stop")
    waits_for_a_person(supervised(run, mode="unready", options=("--stay",)), "it does not start")
    signalled = supervised(run, options=("--stay",))
    signalled.terminate()
    assert "until a person" not in said(signalled)
    joined("site", "leave", "north", "--confirm", "north")
    waits_for_a_person(run(CONSILIUM, "site", "start", "north", "--stay"), "has not joined yet")


_KILLED = """
import os, sys
from pathlib import Path
from client.config import load_home
from client.network import leave
left, unlink = int(sys.argv[1]), Path.unlink
def unlink_or_die(path, *arguments, **options):
    global left
    if path.exists():
        if not left:
            os.kill(os.getpid(), 9)
        left -= 1
    unlink(path, *arguments, **options)
Path.unlink = unlink_or_die
leave.leave(load_home(Path("north"), why=""))
"""


@pytest.mark.parametrize("deleted", [0, 1, 4])
def test_leaving_is_typed_again_after_it_was_killed(joined: Command, run: Start, deleted: int) -> None:
    said(run(sys.executable, "-c", _KILLED, deleted), status=-signal.SIGKILL)
    assert brake.is_paused(site())
    assert Home.of(site()).connection.exists() is (deleted == 0)
    assert "and is paused" in joined("site", "leave", "north", "--confirm", "north")
    assert list(Path("north/network").iterdir()) == [] and forget(site()) == []


def test_what_was_started_again_while_it_left_is_ended_too(
    joined: Command, run: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def started_meanwhile(config: SiteConfig) -> list[Path]:
        started.append(supervised(run))
        return forget(config)

    monkeypatch.setattr(leave, "forget", started_meanwhile)
    assert "has stopped" in joined("site", "leave", "north", "--confirm", "north")
    assert "asked to stop" in said(started[0])


def test_who_leaves_and_comes_back_types_what_it_was_told(joined: Command) -> None:
    told = joined("site", "leave", "north", "--confirm", "north")
    leaves, *back = re.findall(r"consilium ((?:server enrol HOME|site init|site resume)[^`,.\n]*)", told)
    joined(*leaves.replace("HOME", "home").split())
    with pytest.raises(ConsiliumError, match="no such file"):
        joined("site", "status", "north")
    for command in back:
        joined(*command.split())
    joined("server", "enrol", "home", "north/north.request.json")
    joined("site", "join", "north", "home/invitations/north.invitation.json")
    assert not brake.is_paused(site())
