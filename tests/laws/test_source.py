"""Rules about the code itself, read from its source: one door, one line per handler, a pure `common`, known codes."""

import ast
from pathlib import Path

import client
import common
from client import door
from client.refusals import CODES
from client.secure import answers as secure
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
    called = set()
    for handler in handlers:
        (statement,) = handler.body
        assert isinstance(statement, ast.Return) and statement.value.func.id == "answer"
        message, context, task = statement.value.args
        assert (message.id, context.id, task.value.id) == ("message", "context", "work")
        called.add(task.attr)
    assert called == set(HANDLERS.values()) and len(handlers) == len(HANDLERS)


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


_COORDINATOR = ("coordinator.py", "roster")
"""Checks that no site makes in a run: the coordinator's own, and those of enrolment, which a person reads in full."""


def _codes(path: Path) -> tuple[list[str], list[str]]:
    """The codes of this file's calls of `checks.require`, and of its other refusals."""
    required, refused = [], []
    source = ast.parse(path.read_text())
    for node in ast.walk(source):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name == "require" and path.name != "checks.py":
            assert isinstance(node.func, ast.Attribute) and node.func.value.id == "checks", f"{path}: not replaceable"
            required.append(_text(node.args[1], path))
        elif name == "Refusal" and _sites_own(path):
            refused += [_text(choice, path) for choice in _choices(node.args[0], source)]
    return required, refused


def _choices(node: ast.expr, source: ast.Module) -> list[ast.expr]:
    """What `node` may be: both sides of an `if`, or, for the variable of a loop over written rows, each row's entry."""
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if not isinstance(node, ast.Name):
        return [node]
    loops = [each for each in ast.walk(source) if isinstance(each, ast.For) and isinstance(each.target, ast.Tuple)]
    places = [(loop, [name.id for name in loop.target.elts]) for loop in loops]
    return [row.elts[names.index(node.id)] for loop, names in places if node.id in names for row in loop.iter.elts]


def _text(node: ast.expr, path: Path) -> str:
    assert isinstance(node, ast.Constant) and isinstance(node.value, str), f"{path}: a code is written out"
    return node.value


def _sites_own(path: Path) -> bool:
    enrolment = path.parent.name == "secure" and path.name in ("keys.py", "cli.py")
    others = enrolment or path.name == "checks.py"
    return not set(_COORDINATOR) & {path.name, path.parent.name} and not others


def test_every_check_has_a_code_of_its_own_and_every_code_a_number_of_its_own() -> None:
    modules = [path for path in _modules(client) + _modules(common) if "__pycache__" not in path.parts]
    required = {path: _codes(path)[0] for path in modules}
    everywhere = [code for codes in required.values() for code in codes]
    assert len(everywhere) > 60
    assert sorted({code for code in everywhere if everywhere.count(code) > 1}) == [], "one code, one check"
    assert all(code.isidentifier() and code.islower() and len(code) <= 40 for code in everywhere)
    raised = {code for path in modules if _sites_own(path) for part in _codes(path) for code in part}
    assert raised - set(CODES) == set(), "the door would turn these into site_error"
    numbers = [number for number, _ in CODES.values()]
    assert len(set(numbers)) == len(numbers) and all(100 < number < 300 for number in numbers)
    assert len({sentence for _, sentence in CODES.values()}) == len(CODES)
    assert all(sentence.endswith(".") and sentence.count(". ") == 0 for _, sentence in CODES.values())
    known = raised | {"data_not_ready", "site_not_ready", "update_not_finite"}  # what the door makes of other errors
    assert set(CODES) <= known, "a code that no check raises"


def _imports(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_what_is_made_of_a_run_afterwards_cannot_leave() -> None:
    """Nothing that answers a coordinator knows of `client.benefit`, and it knows of nothing that answers."""
    modules = {path.relative_to(client.__path__[0]).as_posix(): _imports(path) for path in _modules(client)}
    users = {name for name, found in modules.items() if any(each.startswith("client.benefit") for each in found)}
    assert {name for name in users if not name.startswith("benefit/")} == {"cli.py", "predict.py"}
    doors = ("flwr", "client.door", "client.work", "client.release", "client.app", "client.session", "server")
    inside = {name: found for name, found in modules.items() if name.startswith("benefit/")}
    assert len(inside) > 10
    for name, found in inside.items():
        assert not any(each == door or each.startswith(f"{door}.") for each in found for door in doors), name


_CHANCE = {"random", "secrets", "uuid"}


def _chance(path: Path) -> set[str]:
    """Sources of randomness that a file imports or calls."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in _CHANCE}
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            found |= {node.module or ""} if module in _CHANCE else set()
            found |= {a.name for a in node.names if (module, a.name) in (("numpy", "random"), ("os", "urandom"))}
        elif isinstance(node, ast.Attribute):
            wanted = ("os.urandom", "os.getrandom", "np.random", "torch.rand", "torch.Generator", "torch.seed")
            found |= {name for name in wanted if ast.unparse(node).startswith(name)}
    return found


def test_secrets_of_a_site_come_from_the_operating_system_alone() -> None:
    """Elsewhere in `client` and `common` chance is handed over, or not secret: batches, first weights, made-up data."""
    found = {path: _chance(path) for path in _modules(client) + _modules(common)}
    by_name = {_name(path): sources for path, sources in found.items() if sources and "synthetic" not in path.parts}
    assert by_name.pop("secure/answers.py") == {"os.urandom"}
    assert by_name.pop("secure/store.py") == {"os.urandom"}  # names of marks
    assert by_name.pop("ledger/place.py") == {"os.urandom"}  # the same
    assert by_name.pop("training/randomness.py") == {"os.urandom"}  # samples and noise
    assert by_name.pop("at_rest/files.py") == {"os.urandom"}  # nonces
    # How far noise may move a number, for a result's reader.
    for name in ("privacy/noisy_scores.py", "privacy/noisy_moments.py"):
        assert by_name.pop(name) == {"np.random"}
    assert by_name.pop("secure/cli.py") == {"os.urandom"}
    # Draws behind figures that stay at the site.
    for name in ("benefit/bootstrap.py", "benefit/calibrate.py", "benefit/labelled.py"):
        assert by_name.pop(name) == {"np.random"}
    assert by_name.pop("training/trainer.py") == {"np.random", "torch.Generator", "torch.rand"}  # batches
    assert by_name.pop("adapt/draws.py") == {"np.random"}  # which labels are drawn: no release
    assert by_name.pop("adapt/network.py") == {"torch.Generator"}  # batches, of what leaves nowhere
    assert by_name.pop("common/aggregators.py") == {"torch.rand"}  # in which order PCGrad projects
    assert by_name.pop("common/intervals.py") == {"np.random"}  # resamples of a table's reader
    assert by_name.pop("client/runner.py") == {"secrets"}  # the password between a SuperNode and its own process
    assert (
        by_name.pop("model/network.py")
        == {"np.random", "torch.Generator", "torch.rand"} & found[_file(common, "network.py")]
    )
    assert by_name == {}


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _file(package: object, name: str) -> Path:
    (path,) = (path for path in _modules(package) if path.name == name)
    return path


def test_nothing_selects_another_source_of_secrets() -> None:
    """`SecureSite.random` has a default and is set nowhere: by no plan, site.toml, configuration or environment.

    The environment may hold the key at rest, and is read for nothing else.
    """
    for path in _modules(client):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SecureSite":
                assert len(node.args) == 3 and node.keywords == [], path
            reads = isinstance(node, ast.Attribute) and ast.unparse(node).startswith("os.environ")
            assert not reads or _name(path) == "at_rest/key.py", path
            assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "os.getenv"), path
    given = [n for n in ast.walk(ast.parse(Path(secure.__file__).read_text())) if isinstance(n, ast.keyword)]
    assert {ast.unparse(n.value) for n in given if n.arg == "random"} == {"self.random", "random or self.random"}


def test_random_numbers_that_follow_from_the_plan_only_order_batches() -> None:
    """Of a round, and of what a site trains afterwards for itself."""
    used = {_name(path): path for path in _modules(client) if "batch_generator" in _called_names(path)}
    assert set(used) == {"client/work.py", "benefit/alone.py", "benefit/fine_tune.py"}
    for path in used.values():
        tree = ast.parse(path.read_text())
        lines = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.keyword)]
        assert [line for line in lines if line.startswith("generator=")] == ["generator=generator"]
