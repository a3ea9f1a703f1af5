"""A coordinator's folder, `home`, made and changed by the real commands in an empty working directory."""

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from experiments.cli import app
from tests.conftest import small_content
from tests.server.network.hospitals import Hospital

Command = Callable[..., str]
NAMES = ("north", "south", "west")


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
