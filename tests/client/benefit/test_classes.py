"""Ordered classes: what is told of them, sets of neighbours that hold nine of ten outcomes, and how they are judged."""

from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as draw
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from client.benefit.answers import TaskOutput, answer, errors
from client.benefit.bootstrap import too_few, value_of
from client.benefit.calibrate import Calibrator, calibration_error, calibrator_of, fit_calibrator
from client.benefit.candidates import losses
from client.benefit.classes import strangeness, told
from client.benefit.conformal import coverage, fit_conformal
from common.ordinal import class_probabilities, level
from common.plan import Plan, Task
from common.tally import sigmoid
from tests.conftest import small_plan

CLASSES = 4


@pytest.fixture
def task() -> Task:
    grade = {"name": "grade", "kind": "ordinal", "label": "level", "classes": list(range(CLASSES))}
    return small_plan(tasks=[grade]).task("grade")


def _draw(random: np.random.Generator, rows: int, *, sharp: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds to lie beyond each class but the last, `sharp` times what they should be, and classes."""
    odds = random.normal(0, 1.5, (rows, 1)) + np.array([1.5, 0.0, -1.5])
    labels = (sigmoid(odds) > random.random((rows, 1))).sum(axis=1)
    return (sharp * odds).astype("f4"), labels.astype("f4")


@given(draw.lists(draw.floats(0.001, 1.0), min_size=3, max_size=7), draw.floats(0.0, 1.0))
def test_classes_below_any_bound_are_neighbours_around_the_median(weights: list[float], bound: float) -> None:
    classes = [str(k) for k in range(len(weights))]
    grade = {"name": "grade", "kind": "ordinal", "label": "level", "classes": classes}
    task, p = small_plan(tasks=[grade]).task("grade"), np.array([weights]) / sum(weights)
    strange = strangeness(task, p)[0]
    middle = int(told(task, p)[0])
    assert strange.argmin() == middle and strange[middle] == pytest.approx(p[0, middle])
    assert strange.max() == pytest.approx(1.0)
    inside = np.flatnonzero(strange <= max(bound, strange[middle]))
    assert (np.diff(inside) == 1).all() and p[0, inside].sum() == pytest.approx(strange[inside].max())


def test_neighbours_by_hand(task: Task) -> None:
    p = np.array([[0.1, 0.4, 0.2, 0.3], [0.0, 0.05, 0.15, 0.8]])
    assert strangeness(task, p) == pytest.approx(np.array([[1.0, 0.4, 0.6, 0.9], [1.0, 1.0, 0.95, 0.8]]))
    assert told(task, p).tolist() == [1, 3]


def test_the_class_told_is_the_one_of_every_other_score(task: Task) -> None:
    own, _ = _draw(np.random.default_rng(0), 500)
    for slope in (1.0, 0.3, 2.0):
        assert (told(task, Calibrator(slope=slope).probabilities(task, own)) == level(own)).all()


@pytest.mark.parametrize("rows", [9, 40])
def test_sets_of_neighbours_hold_what_was_promised(task: Task, rows: int) -> None:
    """At least it: the median class is in every set, and many outcomes share a score."""
    random, hits, trials, sizes = np.random.default_rng(rows), 0, 2_500, []
    for _ in range(trials):
        own, labels = _draw(random, rows + 1, sharp=3.0)
        names = np.arange(rows + 1).astype(np.str_)
        fitted = fit_conformal(task, Calibrator(), own[:-1], labels[:-1], names[:-1])
        found = coverage(task, fitted, Calibrator(), own[-1:], labels[-1:], names[-1:])
        hits += round(found["covered"])
        sizes.append(found["size"])
    assert binomtest(hits, trials, ceil((rows + 1) * 0.9) / (rows + 1), alternative="less").pvalue > 1e-3
    assert rows < 40 or np.mean(sizes) < CLASSES - 0.5


def test_a_known_temperature_of_ordered_classes_is_found(task: Task) -> None:
    own, labels = _draw(np.random.default_rng(1), 20_000, sharp=3.0)
    found = fit_calibrator(task, own, labels)
    assert found.kind == "temperature" and found.slope == pytest.approx(1 / 3, rel=0.05)
    names = np.arange(400).astype(np.str_)
    assert calibrator_of(task, own[:400], labels[:400], names).kind == "temperature"
    before, after = (
        calibration_error(each.probabilities(task, own), labels, ordered=True) for each in (Calibrator(), found)
    )
    assert after["ece"] < 0.02 < before["ece"] and after["brier"] < before["brier"]


def test_the_brier_score_is_the_ranked_probability_score(task: Task) -> None:
    own, labels = _draw(np.random.default_rng(2), 300)
    expected = ((sigmoid(own) - (labels[:, None] > np.arange(3))) ** 2).sum(axis=1).mean()
    assert calibration_error(Calibrator().probabilities(task, own), labels, ordered=True)["brier"] == pytest.approx(
        expected
    )


def test_losses_and_errors(task: Task) -> None:
    own, labels = _draw(np.random.default_rng(3), 200)
    p = class_probabilities(sigmoid(own))
    assert losses(task, own, labels) == pytest.approx(-np.log(p[np.arange(200), labels.astype(int)]))
    names, calm = np.arange(200).astype(np.str_), np.zeros(200, bool)
    output = TaskOutput("federated", Calibrator(), fit_conformal(task, Calibrator(), own, labels, names), None)
    answers = answer(task, output, own, strange=calm, gaps=calm)
    assert (errors(task, answers, labels) == np.abs(level(own) - labels)).all()


def test_it_is_judged_by_the_mean_auroc_over_cuts(task: Task) -> None:
    own, labels = _draw(np.random.default_rng(4), 200)
    areas = [roc_auc_score(labels > k, own[:, k]) for k in range(3)]
    assert value_of(task, own, labels, np.ones((1, 200)))[0] == pytest.approx(np.mean(areas))
    few = np.where(labels == 3, 2, labels)
    few[:4] = 3  # the last cut has four rows beyond it and is left aside
    few = few.astype("f4")
    areas = [roc_auc_score(few > k, own[:, k]) for k in range(2)]
    assert value_of(task, own, few, np.ones((1, 200)))[0] == pytest.approx(np.mean(areas))


def test_too_few_beyond_every_class(task: Task, plan: Plan) -> None:
    labels, names = np.array([0] * 3 + [1] * 30 + [2] * 4, "f4"), np.arange(37).astype(np.str_)
    assert too_few(task, labels, names) == "at no class do 5 of 37 rows lie beyond and 5 not beyond it"
    assert too_few(plan.task("triage"), labels, names) is None
    assert too_few(task, np.append(labels, [2.0]), np.append(names, "x")) is None
