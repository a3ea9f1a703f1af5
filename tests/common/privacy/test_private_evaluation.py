"""The evaluation under noise: one patient's part is bounded whatever the data, and the noise shown covers the error."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common.plan import Plan
from common.privacy.evaluation import PrivateEvaluation
from common.scores import exact_metrics, task_columns
from tests.private import private_plan

ABSURD = st.one_of(st.floats(-20, 70), st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, 1.0, 2.0]))
ROWS = 4
DEATH = [{"name": "death", "label": "died"}]


def _judged(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a model that knows something, (n, 6), and labels, (n, 4)."""
    truth = random.normal(size=(rows, 4))
    classes = truth[:, 2:3] * [-1, 0, 1] + random.normal(size=(rows, 3))
    labels = [truth[:, 0] > 0.5, 20 + 5 * truth[:, 1], classes.argmax(axis=1), truth[:, 3] > 0]
    seen = truth + random.normal(size=(rows, 4))
    three = truth[:, 2:3] * [-1, 0, 1] + 0.5 * random.normal(size=(rows, 3))
    scores = [seen[:, :1] - 0.5, 20 + 4 * truth[:, 1:2] + 2 * random.normal(size=(rows, 1)), three, seen[:, 3:]]
    labels = np.stack(labels, axis=1).astype(np.float32)
    labels[random.random(labels.shape) < 0.1] = np.nan
    return np.concatenate(scores, axis=1).astype(np.float32), labels


@given(
    st.lists(ABSURD, min_size=10, max_size=10),
    st.integers(1, ROWS),
    st.integers(0, 10**6),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=80)
def test_leaving_out_a_patient_moves_the_vector_by_the_sensitivity_at_most(
    values: list[float], rows: int, seed: int, equal: bool, wild: bool
) -> None:
    judge = PrivateEvaluation(private_plan(row="stay", rows_per_patient=ROWS))
    random = np.random.default_rng(seed)
    scores, labels = _judged(random, 30)
    own = np.tile(np.array(values, dtype=np.float32), (rows, 1))
    if not equal:
        own = own * random.choice([1, -1, 0.5], own.shape).astype(np.float32)
    edges = judge.first_edges()
    if wild:  # whatever edges a coordinator sends
        edges = random.choice([np.nan, np.inf, -1.0, 0.2, 0.7], edges.shape).astype(np.float32)
    without = judge.of(scores, labels, edges)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved = judge.of(np.r_[scores, own[:, :6]], np.r_[labels, own[:, 6:]], edges) - without
    assert np.isfinite(moved).all() and len(moved) == judge.size
    assert np.linalg.norm(moved) <= judge.sensitivity


def test_the_sensitivity_is_reached_by_equal_rows_at_an_end_of_every_range() -> None:
    judge = PrivateEvaluation(private_plan(row="stay", rows_per_patient=ROWS))
    scores = np.tile([50, 60, 50, -50, -50, 50], (ROWS, 1)).astype("f4")
    labels = np.tile([1, 60, 0, 1], (ROWS, 1)).astype("f4")
    found = np.linalg.norm(judge.of(scores, labels, judge.first_edges()))
    assert found == pytest.approx(judge.sensitivity, rel=1e-6)


def test_entries_describe_the_vector() -> None:
    judge = PrivateEvaluation(private_plan())
    assert [(each.block, each.size) for each in judge.entries] == [
        ("task:death", 3 + 2 * judge.bins),
        ("task:stay", 3),
        ("task:triage", 3 + 6 * judge.bins),
        ("task:pressure", 3 + 2 * judge.bins),
    ]
    scores, labels = _judged(np.random.default_rng(0), 50)
    labels[:, [0, 2, 3]] = np.nan
    blocks = np.repeat([each.block for each in judge.entries], [each.size for each in judge.entries])
    assert set(blocks[judge.of(scores, labels, judge.first_edges()) != 0]) == {"task:stay"}


def test_with_hardly_any_noise_the_metrics_are_those_of_the_rows_within_the_bins() -> None:
    plan = private_plan(expected_patients=10_000)
    plan = plan.model_copy(update={"privacy": _quiet(plan)})
    judge = PrivateEvaluation(plan)
    scores, labels = _judged(np.random.default_rng(1), 4000)
    found = judge.pooled(judge.of(scores, labels, judge.first_edges()), sites=3)
    for index, (task, columns) in enumerate(zip(plan.tasks, task_columns(plan), strict=True)):
        exact, pooled = exact_metrics(scores[:, columns], labels[:, index], task), found[task.name]["pooled"]
        same = {"regression": ("n", "mae", "rmse"), "binary": ("n", "positives", "brier", "accuracy")}
        for name in same.get(task.kind, ("n", "brier", "accuracy")):
            assert pooled[name] == pytest.approx(exact[name], abs=1e-4), (task.name, name)
        assert max(found[task.name]["noise"].values()) < 1e-3
        if task.kind != "regression":
            assert abs(pooled["auroc"] - exact["auroc"]) <= found[task.name]["auroc_histogram"]["bound"] + 1e-6
    assert set(found["stay"]) == {"pooled", "noise"} and "calibration" in found["death"]


def _coverage(plan: Plan, rows: int, repeats: int, above: float) -> dict[str, float]:
    """Measure -> share of draws in which it is off by what is shown at most. Positives are the rows above `above`."""
    judge, random = PrivateEvaluation(plan), np.random.default_rng(0)
    scores, labels = _judged(random, rows)
    truth_of = random.normal(size=rows)
    scores[:, 0], labels[:, 0] = truth_of + random.normal(size=rows) - above, truth_of > above
    columns = task_columns(plan)[-1].stop
    own = judge.of(scores[:, :columns], labels[:, : len(plan.tasks)], judge.first_edges())
    still = PrivateEvaluation(plan.model_copy(update={"privacy": _quiet(plan)}))
    assert still.noise(3) < 1e-3
    truth = {name: entry["pooled"] for name, entry in _same_bins(still, judge, own).items()}
    hits: dict[str, list[bool]] = {}
    for _ in range(repeats):
        found = judge.pooled(own + judge.noise(3) * random.standard_normal(judge.size), sites=3)
        for name, entry in found.items():
            for measure, width in entry["noise"].items():
                if measure in truth[name]:
                    near = abs(entry["pooled"][measure] - truth[name][measure]) <= width + (measure == "n")
                    hits.setdefault(f"{name} {measure}", []).append(near)
    return {name: float(np.mean(each)) for name, each in hits.items() if len(each) >= repeats // 2}


def _quiet(plan: Plan) -> Any:
    return plan.privacy.model_copy(update={"noise_multiplier": 1e-6})


def _same_bins(still: PrivateEvaluation, judge: PrivateEvaluation, own: np.ndarray) -> dict[str, dict[str, Any]]:
    """What the tally says without noise, between the same edges."""
    object.__setattr__(still, "bins", judge.bins)
    return still.pooled(own, sites=3)


@pytest.mark.parametrize("repeats", [20, pytest.param(60, marks=pytest.mark.torture)])
@pytest.mark.parametrize(
    ("rules", "rows", "above"),
    [
        ({"noise": "shared", "noise_multiplier": 1.0}, 1000, 0.5),
        ({"noise": "local", "noise_multiplier": 1.0}, 1000, 1.5),  # 60 positives or so
        ({"noise": "local", "noise_multiplier": 0.5}, 3000, 2.0),  # 60 positives
    ],
)
def test_the_noise_shown_covers_the_error_in_95_of_100_cases(
    rules: dict[str, Any], rows: int, above: float, repeats: int
) -> None:
    """Fewer hits than draws that each hit with 95 % give once in twenty times are a failure."""
    covered = _coverage(private_plan(expected_patients=3000, tasks=DEATH, **rules), rows, repeats, above)
    assert {"death auroc", "death brier", "death accuracy", "death auprc"} <= set(covered)
    least = stats.binom.ppf(0.05, repeats, 0.95) / repeats
    assert all(share >= least for share in covered.values()), covered


@given(st.integers(0, 10**6), st.sampled_from([-1.0, 0.0, 1.0, 1e4]))
@settings(max_examples=8, deadline=None)
def test_any_sum_gives_metrics_without_a_warning(seed: int, size: float) -> None:
    judge = PrivateEvaluation(private_plan(noise_multiplier=3.0))
    total = size * np.random.default_rng(seed).standard_normal(judge.size) if size >= 0 else -np.ones(judge.size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = judge.pooled(total, sites=3)
    assert list(found) == ["death", "stay", "triage", "pressure"]
    for entry in found.values():
        numbers = [*entry["pooled"].values(), *entry["noise"].values()]
        assert np.isfinite(numbers).all() and entry["pooled"]["n"] >= 0
        assert all(
            0 <= entry["pooled"][name] <= 1 for name in ("auroc", "auprc", "accuracy") if name in entry["pooled"]
        )
        assert set(entry["pooled"]) - {"n"} <= set(entry["noise"])


def test_the_same_sum_gives_the_same_figures() -> None:
    judge = PrivateEvaluation(private_plan())
    total = 5 * np.random.default_rng(0).standard_normal(judge.size) + 20
    assert judge.pooled(total, sites=3) == judge.pooled(total, sites=3)


def test_plausible_allows_for_the_noise_and_for_no_more() -> None:
    judge = PrivateEvaluation(private_plan())
    honest = judge.of(*_judged(np.random.default_rng(3), 200), judge.first_edges())
    assert judge.plausible(honest, sites=3, noise=0.0)
    for place, value in ((0, -11.0), (0, 1.6e9), (1, 130.0), (2, -130.0), (3, -11.0), (3, 240.0)):
        wrong = honest.copy()
        wrong[place] = value
        assert not judge.plausible(wrong, sites=3, noise=10.0)
    honest[3] = -9.0
    assert judge.plausible(honest, sites=3, noise=10.0) and not judge.plausible(honest, sites=3, noise=8.0)
