"""One door: read from the source, and tried with exceptions that carry a patient's value in every handler."""

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

import client
import common
from client import door, work
from client.app import app
from client.config import find_sites
from client.refusals import CODES
from client.session import close_sessions
from common.errors import DataError, NonFiniteUpdate, PlanError, Refusal
from common.plan import Plan
from experiments.simulate import prepare_sites
from server.identity import act_as_coordinator
from server.journal import PLAN

SECRET = "patient-Ada-Lovelace-4711"
HANDLERS = {
    "query.declare": "declare",
    "query.survey": "survey",
    "train": "train",
    "evaluate": "evaluate",
    "query.finish": "finish",
}


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
        "io",
    }
    for path in _modules(common):
        if path.name == "files.py":
            continue  # the one corner that reads and writes whole files
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & forbidden, path
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open"), path


@pytest.fixture
def node(plan: Plan, write_sites: Callable[..., Path], tmp_path: Path) -> Context:
    act_as_coordinator()
    out = tmp_path / "out"
    out.mkdir()
    (out / PLAN).write_bytes(plan.canonical)
    sites = prepare_sites(plan, find_sites(write_sites()), out)
    yield Context(1, 1, {"site-config": str(sites["north"])}, RecordDict(), {})
    close_sessions()


def _message(kind: str, plan: Plan, **header: object) -> Message:
    fields = {"plan_hash": plan.hash, "round": 1, "stage": 1} | header
    content = RecordDict({"header": ConfigRecord(fields), "arrays": ArrayRecord({"v": Array(np.zeros(1, "f4"))})})
    content["arrays"] = ArrayRecord({"vector": Array(np.zeros(3, dtype=np.float32))})
    return Message(content, 1, kind)


@pytest.mark.parametrize("kind", HANDLERS)
@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        RuntimeError(SECRET),
        DataError(SECRET),
        PlanError(SECRET),
        NonFiniteUpdate(SECRET),
        Refusal("site_error", SECRET),
        MemoryError(SECRET),
        AssertionError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_planted_exception_leaves_as_a_code(
    kind: str, error: Exception, node: Context, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(work, HANDLERS[kind], fail)
    reply = app(_message(kind, plan), node)
    assert reply.has_error() and not reply.has_content()
    code, _, sentence = reply.error.reason.partition(": ")
    assert CODES[code] == (reply.error.code, sentence)
    assert SECRET not in repr(reply)
    log = Path(str(node.node_config["site-config"])).parent / "site.log"
    assert SECRET in log.read_text()


@pytest.mark.parametrize("place", ["open_session", "_seal", "_write_entry", "_check_policy"])
def test_exception_inside_the_door_leaves_as_a_code(
    place: str, node: Context, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(door, place, fail)
    reply = app(_message("query.declare", plan), node)
    assert reply.error.code == CODES["site_error"][0] and SECRET not in repr(reply)


def test_unapproved_plan_is_refused_before_any_work(node: Context, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(work, "train", lambda *_: called.append(1))
    reply = app(_message("train", plan, plan_hash="0" * 64), node)
    assert reply.error.reason.startswith("plan_not_approved:") and not called


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("train", {"round": 4}),
        ("train", {"round": 0}),
        ("train", {"round": -1}),
        ("train", {"round": "1"}),
        ("train", {"stage": "x"}),
        ("evaluate", {}),
        ("query.survey", {}),
        ("query.finish", {}),
    ],
)
def test_malformed_request_is_refused(kind: str, header: dict[str, object], node: Context, plan: Plan) -> None:
    reply = app(_message(kind, plan, **header), node)
    assert reply.error.reason.startswith("malformed_request:")


def test_book_that_cannot_be_written_keeps_the_release_inside(node: Context, plan: Plan) -> None:
    book = Path(str(node.node_config["site-config"])).parent / "releases.jsonl"
    book.symlink_to("/dev/full")
    reply = app(_message("query.declare", plan), node)
    assert reply.error.reason.startswith("cannot_record:")
