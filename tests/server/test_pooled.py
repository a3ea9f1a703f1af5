"""Rounds whose sum holds noise: the pooled step in closed form, the history, and sums that cannot be honest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from common.contribution import Contribution
from common.evaluation import first_edges
from common.model import Layout, Normaliser, initial_parameters
from common.plan import Plan
from common.privacy.shares import fixed_point, noise_steps
from server.cohort import Cohort
from server.dashboard.figures import learning_curve
from server.dashboard.run_figures import norms_by_round
from server.exchange import Question
from server.journal import Journal, RunState
from server.phases.context import Run
from server.phases.plausible import plausible_round
from server.phases.rounds import train_round
from server.strategy import ServerStep
from server.sums import Check, Sum
from server.terminal import Progress

NAMES = ("east", "north", "south", "west")
CLIP, ROWS, RATE = 0.5, 250.0, 0.3
Private = Callable[..., Plan]


@dataclass
class Adding:
    """A summing seam to which the test gives the sum. entries: those that a secure sum holds."""

    total: np.ndarray
    entries: np.ndarray
    secure: bool = True
    asked: list[Question] = field(default_factory=list)

    def collect(self, question: Question, *, size: int, min_sites: int, plausible: Check) -> Sum:
        assert self.total.shape == (size,) and plausible(NAMES, self.total)
        self.asked.append(question)
        return Sum(self.total, NAMES, {}, entries=self.entries)


@pytest.fixture
def private(make_plan) -> Private:
    def make(unit: str, strategy: str = "fedavg", **training: Any) -> Plan:
        return make_plan(
            aggregation={"secure": True, "min_sites": 4, "clip_norm": CLIP, "strategy": strategy},
            privacy={"unit": unit, "noise": "shared", "noise_multiplier": 1.0},
            training={"learning_rate": RATE, "l2_network": 2.0, "l2_linear": 5.0, **training},
        )

    return make


def _cohort(layout: Layout, **levels: float) -> Cohort:
    """Four sites with level 1 for everything; levels: site -> its own, for all blocks."""
    blocks = len(layout.block_names)
    return Cohort(dict(enumerate(NAMES)), {name: np.full(blocks, levels.get(name, 1.0)) for name in NAMES})


@contextmanager
def _run(plan: Plan, folder: Path, total: np.ndarray, entries: np.ndarray, **levels: float) -> Iterator[Run]:
    journal = Journal(folder, plan, resume=False)
    try:
        yield Run(plan, _cohort(Layout(plan), **levels), Adding(total, entries), journal)
    finally:
        journal.close()


def _state(plan: Plan) -> RunState:
    layout, features, tasks = Layout(plan), len(plan.features), len(plan.tasks)
    ones, edges = np.ones(max(features, tasks), "f4"), np.tile(np.arange(5, dtype="f4"), (features, 1))
    normaliser = Normaliser(
        ones[:features], ones[:features], edges, ones[:features], ones[:tasks], ones[:tasks], ones[:tasks], ROWS
    )
    arrays = {
        "parameters": initial_parameters(layout, seed=3),
        "normaliser": normaliser.to_vector(),
        "edges": first_edges(layout.outputs, bins=plan.evaluation.round_bins),
    }
    return RunState(0, arrays, {"history": []})


def _noisy_gradient(asked: Contribution, seed: int = 0) -> np.ndarray:
    """(narrow + wide,): four gradients of the clip norm, the noise of four sites, four ones."""
    random, fixed = np.random.default_rng(seed), fixed_point(asked, sites=4)
    total = np.zeros(asked.narrow + asked.wide)
    total[: asked.narrow] = CLIP * 4 / np.sqrt(asked.narrow)
    sigma = 2.0 * noise_steps(asked, fixed) / fixed.narrow_scale
    total[: asked.narrow] += random.normal(scale=sigma, size=asked.narrow)
    total[-1] = 4.0
    return total


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_pooled_step_is_the_closed_form(private: Private, tmp_path: Path, schedule: str) -> None:
    """theta - rate (sum + penalty * theta), whatever the levels; entries that are not in the sum stay bit for bit."""
    plan = private("patient", schedule=schedule)
    asked, layout, state = Contribution(plan, "train"), Layout(plan), _state(plan)
    out = layout.block_of == layout.block_names.index("task:death")
    total, entries = _noisy_gradient(asked), np.ones(asked.narrow + asked.wide, dtype=bool)
    total[: asked.narrow][out], entries[: asked.narrow][out] = 0.0, False
    with _run(plan, tmp_path / "out", total, entries, east=0.125, north=0.25) as run:
        after = train_round(run, state, ServerStep(plan.aggregation))
    theta = state.arrays["parameters"]
    expected = theta.astype(np.float64).copy()
    gradient = total[: asked.narrow].copy()
    for name, part in layout.split(gradient).items():
        if name.endswith("weight"):
            own = (5.0 if name.startswith("linear.") else 2.0) / ROWS
            part += own * layout.split(theta)[name]
    expected -= RATE * gradient
    expected[out] = theta[out]
    assert np.allclose(after.arrays["parameters"], expected, rtol=1e-6, atol=1e-7)
    assert after.arrays["parameters"][out].tobytes() == theta[out].tobytes()
    assert np.array_equal(after.arrays["edges"], state.arrays["edges"])
    (entry,) = after.facts["history"]
    assert entry["tasks"] == {} and entry["sites"] == 4 and entry["learning_rate"] == RATE
    assert not any("norm" in key or "clip" in key for key in entry)


def test_a_pooled_step_passes_the_plans_strategy(private: Private, tmp_path: Path) -> None:
    """FedAdam's first step: rate * sign of the pseudo-gradient, up to tau."""
    plan = private("patient", "fedadam", l2_network=0.0, l2_linear=0.0)
    asked, state = Contribution(plan, "train"), _state(plan)
    total = _noisy_gradient(asked)
    with _run(plan, tmp_path / "out", total, np.ones(len(total), dtype=bool)) as run:
        after = train_round(run, state, ServerStep(plan.aggregation))
    moved = after.arrays["parameters"].astype(np.float64) - state.arrays["parameters"]
    clear = np.abs(total[: asked.narrow]) > 0.05
    assert clear.sum() > 10 and (np.sign(moved[clear]) == -np.sign(total[: asked.narrow][clear])).all()


def test_a_hospitals_updates_are_divided_by_their_levels(private: Private, tmp_path: Path) -> None:
    plan = private("hospital")
    asked, state = Contribution(plan, "train"), _state(plan)
    total = _noisy_gradient(asked)
    with _run(plan, tmp_path / "out", total, np.ones(len(total), dtype=bool), east=0.5) as run:
        after = train_round(run, state, ServerStep(plan.aggregation))
    moved = after.arrays["parameters"].astype(np.float64) - state.arrays["parameters"]
    assert np.allclose(moved, total[: asked.narrow] / 3.5, atol=1e-6)
    (entry,) = after.facts["history"]
    assert entry["tasks"] == {} and "norm_before_clip" not in entry
    assert np.array_equal(after.arrays["edges"], state.arrays["edges"])


def test_terminal_and_report_do_without_norms_and_scores(private: Private, tmp_path: Path) -> None:
    plan, shown = private("patient"), StringIO()
    total = _noisy_gradient(Contribution(plan, "train"))
    with _run(plan, tmp_path / "out", total, np.ones(len(total), dtype=bool)) as run:
        (entry,) = train_round(run, _state(plan), ServerStep(plan.aggregation)).facts["history"]
    Progress(Console(file=shown))({"event": "round", "rounds": 3, **entry})
    assert shown.getvalue() == "round 1/3, 4 sites\n"
    result = {"history": [entry], "clip_norm": CLIP, "tasks": {}, "sites": {}}
    assert norms_by_round(result) is None
    assert learning_curve([entry], "death", {"kind": "binary"}) is None


@pytest.mark.parametrize("unit", ["patient", "hospital"])
def test_noise_is_plausible_and_more_than_noise_is_not(private: Private, tmp_path: Path, unit: str) -> None:
    plan = private(unit)
    asked = Contribution(plan, "train")
    honest = _noisy_gradient(asked)
    taking_part = np.ones(len(Layout(plan).block_names))
    levels = dict.fromkeys(NAMES, 0.5) if unit == "hospital" else {}
    with _run(plan, tmp_path / "out", honest, np.ones(len(honest), dtype=bool), **levels) as run:

        def plausible(vector: np.ndarray) -> bool:
            return plausible_round(run, taking_part, NAMES, vector)

        update = slice(None, asked.narrow)
        half = honest.copy()
        half[update] *= 0.5 if unit == "hospital" else 1.0
        assert plausible(half)
        for seed in range(20):
            noise = _noisy_gradient(asked, seed)
            noise[update] *= 0.5 if unit == "hospital" else 1.0
            assert plausible(noise)
        for change in (0, 1, 2):
            told = half.copy()
            told[-4 + change] = 0.25  # a norm, which says something of the data
            assert not plausible(told)
        many, part = half.copy(), half.copy()
        many[-1], part[-1] = 5.0, 3.5
        assert not plausible(many) and not plausible(part)
        far = half.copy()
        far[update] *= 10.0
        assert not plausible(far)
        broken = half.copy()
        broken[0] = np.nan
        assert not plausible(broken)


def test_nothing_may_stand_in_a_block_that_was_left_out(private: Private, tmp_path: Path) -> None:
    plan = private("patient")
    layout, asked = Layout(plan), Contribution(plan, "train")
    total, taking_part = _noisy_gradient(asked), np.ones(len(layout.block_names))
    taking_part[layout.block_names.index("task:death")] = 0.0
    with _run(plan, tmp_path / "out", total, np.ones(len(total), dtype=bool)) as run:
        assert not plausible_round(run, taking_part, NAMES, total)
        total[: asked.narrow][layout.block_of == layout.block_names.index("task:death")] = 0.0
        assert plausible_round(run, taking_part, NAMES, total)
