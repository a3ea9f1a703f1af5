"""A coordinator's folder, `home`, made and changed by the real commands in an empty working directory."""

import datetime
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

from experiments.cli import app
from server.network.home import Home, load_home
from server.network.serve import served
from tests.conftest import small_content
from tests.e2e.deployed import wait_until
from tests.e2e.processes import free_ports
from tests.server.network.hospitals import Hospital
from tests.server.network.stand import Stand, make_stand, require_nginx

Command = Callable[..., str]
NAMES = ("north", "south", "west")
WAIT_S = 180.0
CONSILIUM = str(Path(sys.executable).parent / "consilium")


@pytest.fixture
def consilium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """consilium(*arguments, status=0): what it prints; raises as it does."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, status: int = 0) -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done.output

    return run


@pytest.fixture
def home(consilium: Command) -> Home:
    """A federation on free ports whose first roster all have signed."""
    gateway, link = free_ports(2)
    where = ("--address", f"localhost:{gateway}", "--listen", f"127.0.0.1:{gateway}", "--link-port", link)
    consilium("server", "init", "home", "--federation", "stroke", *where)
    those = hospitals(*NAMES)
    enrol(consilium, *those.values(), more=("--plan", write_plan()))
    collect(consilium, *those.values())
    return load_home(Path("home"))


@pytest.fixture
def serving(home: Home) -> Iterator[Home]:
    """Its processes run."""
    require_nginx()
    log = home.folder.parent / "serve.log"
    with open(log, "wb") as file:
        process = subprocess.Popen([CONSILIUM, "server", "serve", str(home.folder)], stdout=file, stderr=file)
    try:
        wait_until(lambda: ready(home), f"the processes: {log}", WAIT_S)
        yield home
    finally:
        if served(home) is not None:  # a test may have stopped it
            process.terminate()
        process.wait(timeout=WAIT_S)
        assert process.returncode == 0, log.read_text()


@pytest.fixture
def stand() -> Iterator[Stand]:
    """A gateway of its own, for a test that changes it."""
    require_nginx()
    stand = make_stand()
    yield stand
    stand.stop()


def heed(*, hangup: bool = True) -> None:
    """In a command that is about to start: what one from a terminal heeds, however these tests were started themselves.

    A shell's background job ignores SIGINT, one under nohup SIGHUP. hangup: without, as under nohup.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL if hangup else signal.SIG_IGN)


def ready(home: Home) -> dict[str, Any] | None:
    """What the supervisor says of itself, once everything runs."""
    told = served(home)
    return told if told and told["ready"] and all(part["pid"] for part in told["parts"].values()) else None


def write_plan(path: str = "federation.toml", *, rounds: int = 3, **aggregation: object) -> str:
    content = small_content() | {"aggregation": {"secure": True, **aggregation}}
    content["training"]["rounds"] = rounds
    Path(path).write_text(tomli_w.dumps(content))
    return path


def init(consilium: Command, *more: object) -> str:
    options = ("--federation", "stroke", "--address", "127.0.0.1:19443", "--link-port", 19092)
    return consilium("server", "init", "home", *options, *more)


def hospitals(*names: str) -> dict[str, Hospital]:
    return {name: Hospital(name) for name in names}


def enrol(consilium: Command, *those: Hospital, more: tuple[object, ...] = ()) -> str:
    return consilium("server", "enrol", "home", *(each.request() for each in those), *more)


def found(consilium: Command, *names: str) -> dict[str, Hospital]:
    """A federation whose first roster all have signed."""
    init(consilium)
    those = hospitals(*names)
    enrol(consilium, *those.values(), more=("--plan", write_plan()))
    collect(consilium, *those.values())
    return those


def collect(consilium: Command, *those: Hospital) -> str:
    return consilium("server", "collect", "home", *(each.sign("home/proposal.json") for each in those))


def doctor(consilium: Command, level: str = "", words: str = "", status: int | None = None) -> str:
    """What it says; one line is of this level and holds these words."""
    said = consilium("server", "doctor", "home", status=(level == "error") if status is None else status)
    lines = [line for line in said.splitlines() if line.startswith(level) and words in line]
    assert len(lines) >= 1 or not level, said
    return said


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def tree(folder: str = "home") -> dict[str, bytes]:
    """Contents of everything but the locks."""
    return {str(p): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file() and p.name != ".lock"}
