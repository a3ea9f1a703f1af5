"""Rules about the code itself, read from its source: one door, one line per handler, a pure `common`."""

import ast
from pathlib import Path

import client
import common
from client import door
from tests.laws.test_door import HANDLERS


def _modules(package: object) -> list[Path]:
    return sorted(Path(package.__path__[0]).rglob("*.py"))


def _called_names(path: Path) -> set[str]:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {node.id for node in calls if isinstance(node, ast.Name)} | {
        node.attr for node in calls if isinstance(node, ast.Attribute)
    }


def test_only_the_door_builds_replies() -> None:
    builders = {
        "Message",
        "RecordDict",
        "ArrayRecord",
        "MetricRecord",
        "ConfigRecord",
        "Array",
        "Error",
        "create_reply",
        "create_error_reply",
        "make_message",
    }
    found = {path.name for path in _modules(client) if _called_names(path) & builders}
    assert found == {"door.py"}
    source = ast.parse(Path(door.__file__).read_text())
    replies = [n for n in ast.walk(source) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Message"]
    assert len(replies) == 2  # one with a release, one with a code


def test_every_handler_goes_through_the_door() -> None:
    source = ast.parse(Path(client.__path__[0], "app.py").read_text())
    handlers = [node for node in source.body if isinstance(node, ast.FunctionDef)]
    assert {handler.name for handler in handlers} == set(HANDLERS.values())
    for handler in handlers:
        (statement,) = handler.body
        assert isinstance(statement, ast.Return) and statement.value.func.id == "answer"


def test_common_is_pure() -> None:
    forbidden = {
        "os",
        "pathlib",
        "socket",
        "subprocess",
        "tempfile",
        "shutil",
        "urllib",
        "http",
        "httpx",
        "requests",
        "flwr",
        "client",
        "server",
        "experiments",
        "random",
        "secrets",
        "time",
    }
    for path in _modules(common):
        if path.name == "files.py":
            continue  # the one corner that reads and writes whole files
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & forbidden, path
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open"), path
