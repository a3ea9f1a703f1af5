"""Early stopping: the model that is kept is the one that fewer rounds give, in the open and secure, cut off or not."""

import io
import json
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from client.config import find_sites
from common.errors import PlanError
from common.files import read_bytes
from common.model_file import ModelFile
from common.plan import Plan
from experiments.simulate import simulate
from server import coordinator
from server.dashboard.rounds import stopped_line
from server.journal import EVENTS, RunState
from server.phases.stopping import remember_best, stops, take_best
from server.result import MODEL, rounds_to_99_percent
from server.terminal import result_table
from tests.conftest import small_table

_TRAINING = {"rounds": 40, "schedule": "constant", "learning_rate": 0.3, "batch_size": 8}


def _run(
    make_plan: Any, sites: Path, out: Path, *, secure: bool, resume: bool = False, **training: Any
) -> dict[str, Any]:
    plan = make_plan(training=_TRAINING | training, aggregation={"secure": secure, "clip_norm": 5.0})
    return simulate(plan, find_sites(sites), out, resume=resume)


def _parameters(out: Path) -> bytes:
    return ModelFile.from_bytes(read_bytes(out / MODEL), source="model").parameters.tobytes()


@pytest.mark.parametrize("secure", [False, True])
def test_the_best_model_is_kept(secure: bool, make_plan, write_sites, tmp_path: Path, monkeypatch) -> None:
    sites = write_sites(**{name: small_table(i, rows=160) for i, name in enumerate(("north", "south", "west"))})
    result = _run(make_plan, sites, tmp_path / "early", secure=secure, patience=3)
    best = result["best_round"]
    assert best > 0 and result["rounds"] == best + 4 < 40
    losses = [geometric_mean(task["loss"] for task in entry["tasks"].values()) for entry in result["history"]]
    assert min(losses[:-1]) == losses[best] == pytest.approx(losses[-1], rel=1e-5)  # the last one is of what is kept
    assert result["rounds_to_99_percent"] <= best  # later rounds are of models that were not kept
    assert result["rounds_to_99_percent"] == rounds_to_99_percent(result["history"][: best + 1])
    told = f"Stopped after round {best + 4}: the validation loss was no better for three rounds; the model is of round"
    learnt = f"after {result['rounds_to_99_percent']} of {best} rounds."
    console = Console(file=io.StringIO(), width=300)
    console.print(result_table(result))
    for text in (console.file.getvalue(), (tmp_path / "early" / "report.html").read_text()):
        assert f"{told} {best}." in " ".join(text.split()) and learnt in " ".join(text.split())
    events = [json.loads(line) for line in (tmp_path / "early" / EVENTS).read_text().splitlines()]
    assert [each["best"]["round"] for each in events if each["event"] == "stopped_early"] == [best]

    whole = _run(make_plan, sites, tmp_path / "fewer", secure=secure, rounds=best)
    assert "best_round" not in whole and stopped_line(whole) == ""
    assert _parameters(tmp_path / "early") == _parameters(tmp_path / "fewer")

    def lost(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(coordinator, "evaluate", lost)
        _run(make_plan, sites, tmp_path / "cut", secure=secure, patience=3)
    again = _run(make_plan, sites, tmp_path / "cut", secure=secure, resume=True, patience=3)
    assert again["best_round"] == best and _parameters(tmp_path / "cut") == _parameters(tmp_path / "early")


@pytest.mark.parametrize(
    ("rounds", "best", "words"),
    [
        (7, 5, "no better for one round; the model is of round 5."),
        (4, 0, "no better for three rounds; the model is that from before round 1."),
    ],
)
def test_why_a_run_ended_early_in_words(rounds: int, best: int, words: str) -> None:
    assert stopped_line({"rounds": rounds, "best_round": best}).endswith(words)


def _told(plan: Plan, rounds: list[tuple[int, dict[str, float]]]) -> RunState:
    """The state after rounds with these sites and losses; the model after round r is [r]."""
    state = RunState(0, {"parameters": np.array([0.0])}, {"history": []})
    for number, (sites, losses) in enumerate(rounds, start=1):
        entry = {"round": number, "sites": sites, "tasks": {name: {"loss": loss} for name, loss in losses.items()}}
        after = RunState(number, {"parameters": np.array([float(number)])}, {"history": [entry]})
        facts = {key: state.facts[key] for key in ("best",) if key in state.facts}
        state = remember_best(plan, state, replace(after, facts=after.facts | facts))
        if stops(plan, state):
            break
    return state


@pytest.mark.parametrize(
    ("rounds", "best", "ended"),
    [
        ([(3, {"a": 0.5}), (3, {}), (3, {"a": 0.6}), (3, {"a": 0.6})], 0, 4),  # a round without a judge
        ([(3, {}), (3, {"a": 0.6}), (3, {"a": 0.5}), (3, {"a": 0.5})], 2, 4),
        ([(3, {"a": 0.3, "b": 0.7}), (3, {"a": 0.31}), (3, {"a": 0.25, "b": 0.6})], 2, 3),  # a task is missing
        ([(3, {"a": 0.5}), (2, {"a": 0.1}), (3, {"a": 0.4})], 2, 3),  # a hospital is missing
        ([(2, {"a": 0.1}), (3, {"a": 0.5}), (3, {"a": 0.4})], 2, 3),  # one more than before
        ([(3, {"a": 0.5, "b": 0.010}), (3, {"a": 0.501, "b": 0.009})], 1, 2),  # in other units
        ([(3, {"a": 0.5}), (3, {"a": 0.6}), (3, {"a": 0.6}), (3, {"a": 0.1})], 0, 3),
    ],
)
def test_models_are_compared_by_the_same_sites_and_tasks(
    make_plan, rounds: list[tuple[int, dict[str, float]]], best: int, ended: int
) -> None:
    plan = make_plan(training={"patience": 2})
    state = _told(plan, rounds)
    assert state.round == ended and state.facts["best"]["round"] == best
    assert take_best(state).arrays["parameters"].tolist() == [float(best)]


def test_under_noise_there_is_nothing_to_stop_by(make_plan) -> None:
    with pytest.raises(PlanError, match=r"training\.patience needs the validation loss of every round"):
        make_plan(training={"patience": 2}, privacy={"unit": "patient", "target_epsilon": 4.0, "noise": "local"})
