"""Seeded randomness is the simulation's alone: no deployed site can be told to use it, by anybody."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

import client
import common
import server
from client.config import SiteConfig
from client.policy.policy import Policy
from client.session import Session
from client.sessions import close_sessions, open_session
from client.training import randomness
from client.training.randomness import SystemRandomness
from common.plan import Plan
from tests.laws.one_site import OneSite, per_patient
from tests.secure import build


def _modules(package: object) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(Path(package.__path__[0]).rglob("*.py")):
        yield path, ast.parse(path.read_text())


@pytest.mark.parametrize("package", [client, common, server])
def test_nothing_but_the_simulation_knows_the_seeded_source(package: object) -> None:
    """`server` starts no site; the simulation is the one caller of both."""
    for path, source in _modules(package):
        for node in ast.walk(source):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("experiments", "tests") for name in names), path
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in ("__import__", "importlib.import_module", "import_module", "eval", "exec"), path
            assert not (isinstance(node, ast.Constant) and "experiments.seeded" in str(node.value)), path


def test_a_session_has_one_source_and_nothing_in_client_sets_another() -> None:
    """`Session.randomness` is made in one line without a condition, and is assigned nowhere in `client`."""
    made = []
    for path, source in _modules(client):
        for node in ast.walk(source):
            if isinstance(node, ast.FunctionDef) and node.name == "randomness":
                made.append([ast.unparse(line) for line in node.body[1:]])
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets += [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []
            assert not any("randomness" in ast.unparse(target) for target in targets), path
            assert not (isinstance(node, ast.keyword) and node.arg == "randomness"), path
            assert not (isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr"), path
    assert made == [["return SystemRandomness()"]]
    (source,) = [n for n in ast.walk(ast.parse(Path(randomness.__file__).read_text())) if isinstance(n, ast.ClassDef)][
        1:
    ]
    (method,) = source.body[1:]
    assert source.name == "SystemRandomness" and [ast.unparse(line) for line in method.body] == ["return os.urandom"]


def _fields(model: Any, prefix: str = "") -> set[str]:
    """Every key of a file that is read into this pydantic model."""
    found = set()
    for name, field in model.model_fields.items():
        found.add(prefix + name)
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if hasattr(kind, "model_fields"):
                found |= _fields(kind, f"{prefix}{name}.")
    return found


def test_no_key_of_a_plan_a_policy_or_a_site_is_about_secret_randomness() -> None:
    """The two seeds of a plan divide the patients and start the model; they are no secret."""
    keys = {"plan": _fields(Plan), "policy": _fields(Policy), "site": _fields(SiteConfig)}
    assert "privacy.unit" in keys["plan"] and "budget.delta" in keys["policy"] and "at_rest.key_env" in keys["site"]
    about = {name: {key for key in own if "seed" in key or "random" in key} for name, own in keys.items()}
    assert about == {"plan": {"seeds", "seeds.split", "seeds.training"}, "policy": set(), "site": set()}


def _session(one: OneSite) -> Session:
    return open_session(Context(1, 1, {"site-config": str(one.folder / "site.toml")}, RecordDict(), {}))


@pytest.mark.parametrize("kind", ["query.survey", "train", "evaluate"])
def test_the_same_question_gets_other_noise_each_time(kind: str, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same plan with its seeds, the same files, the same environment, in a client that was started again."""
    plan = per_patient(seeds={"split": 7, "training": 7})
    one = site(plan)
    for name in ("PYTHONHASHSEED", "CONSILIUM_SEED", "SEED"):
        monkeypatch.setenv(name, "7")
    answers = []
    for _ in range(2):
        close_sessions()
        assert isinstance(_session(one).randomness, SystemRandomness)
        assert _session(one).randomness.source("noise", plan.hash) is os.urandom
        answers.append(one.ask(plan, kind).content["arrays"]["vector"].data)
    assert answers[0] != answers[1]


@pytest.mark.parametrize("virtual", [False, True])
def test_sites_of_a_real_node_and_of_flowers_engine_have_the_systems_source(virtual: bool, tmp_path: Path) -> None:
    """Also where Flower's simulation engine calls: only an in-process simulation hands over another."""
    federation = build(tmp_path, 3)
    context = federation.context("north")
    if virtual:
        run = {"sites": str(federation.sites["north"].parents[1])}
        context = Context(1, 1, {"partition-id": 1}, RecordDict(), run)
    session = open_session(context)
    assert session.config.name == "north" and session.virtual == virtual
    assert type(session.randomness) is SystemRandomness and session.randomness.source("train") is os.urandom
    assert session.secure.random is os.urandom
    close_sessions()
