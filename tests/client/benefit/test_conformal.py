"""Split-conformal sets: nine of ten outcomes lie inside, on exchangeable rows, whatever the model is worth."""

from math import ceil

import numpy as np
import pytest
from scipy.stats import binomtest

from client.benefit.calibrate import Calibrator
from client.benefit.conformal import binomial_interval, coverage, finite_quantile, fit_conformal
from common.plan import Plan
from common.tally import sigmoid


def _draw(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a model that knows little and is sure of it, and labels."""
    true = random.normal(0, 1.0, rows)
    labels = (random.random(rows) < sigmoid(true)).astype("f4")
    return (3 * true + random.normal(0, 2, rows)).astype("f4")[:, None], labels


@pytest.mark.parametrize("rows", [9, 20, 60])
def test_coverage_over_many_hospitals_is_what_was_promised(plan: Plan, rows: int) -> None:
    """The expected coverage of n rows is ceil((n + 1) 0.9) / (n + 1) exactly, where no set has to be filled up."""
    random, task, hits, trials = np.random.default_rng(rows), plan.task("death"), 0, 4_000
    for _ in range(trials):
        own, labels = _draw(random, rows + 1)
        names = np.arange(rows + 1).astype(np.str_)
        fitted = fit_conformal(task, Calibrator(), own[:-1], labels[:-1], names[:-1])
        found = coverage(task, fitted, Calibrator(), own[-1:], labels[-1:], names[-1:])
        hits += round(found["covered"])
    promised = ceil((rows + 1) * 0.9) / (rows + 1)
    assert binomtest(hits, trials, promised).pvalue > 1e-3
    assert promised >= 0.9


def test_intervals_of_a_quantity_cover(plan: Plan) -> None:
    random, task, hits, trials = np.random.default_rng(5), plan.task("stay"), 0, 3_000
    for _ in range(trials):
        labels = random.uniform(10, 40, 40).astype("f4")
        own = (labels + random.standard_t(3, 40)).astype("f4")[:, None]
        names = np.arange(40).astype(np.str_)
        fitted = fit_conformal(task, Calibrator(), own[:-1], labels[:-1], names[:-1])
        hits += round(coverage(task, fitted, Calibrator(), own[-1:], labels[-1:], names[-1:])["covered"])
    assert binomtest(hits, trials, ceil(40 * 0.9) / 40).pvalue > 1e-3


def test_what_the_model_believes_is_judged_beside_the_sets(plan: Plan) -> None:
    """One that is too sure of itself covers less than it says; one that knows its risks covers no less."""
    random, task = np.random.default_rng(3), plan.task("death")
    true = random.normal(0, 1.0, 4_000).astype("f4")
    labels, names = (random.random(4_000) < sigmoid(true)).astype("f4"), np.arange(4_000).astype(np.str_)
    found = {}
    for sureness in (1.0, 4.0):
        own = (sureness * true)[:, None]
        fitted = fit_conformal(task, Calibrator(), own[:2_000], labels[:2_000], names[:2_000])
        after = coverage(task, fitted, Calibrator(), own[2_000:], labels[2_000:], names[2_000:])
        assert after["covered"] == pytest.approx(0.9, abs=0.03)
        found[sureness] = after["covered_before"]
    p = sigmoid(4.0 * true[2_000:])
    believed = np.where(np.maximum(p, 1 - p) >= 0.9, (p > 0.5) == (labels[2_000:] == 1.0), True)
    assert found[4.0] == pytest.approx(believed.mean()) and found[4.0] < 0.87
    assert found[1.0] >= 0.9


def test_the_quantile_is_the_finite_sample_one() -> None:
    for rows in range(1, 200):
        scores = np.random.default_rng(rows).permutation(rows).astype(float)
        found = finite_quantile(scores)
        place = ceil((rows + 1) * 9 / 10)
        assert found == (np.inf if place > rows else place - 1)
    assert finite_quantile(np.arange(8.0)) == np.inf and finite_quantile(np.arange(9.0)) == 8.0


def test_with_eight_patients_every_outcome_is_possible(plan: Plan) -> None:
    own, labels = _draw(np.random.default_rng(0), 8)
    fitted = fit_conformal(plan.task("death"), Calibrator(), own, labels, np.arange(8).astype(np.str_))
    assert fitted.patients == 8 and fitted.sets(plan.task("death"), np.array([[0.999, 0.001]])).all()
    low, high = fit_conformal(plan.task("stay"), Calibrator(), own, labels, np.arange(8).astype(np.str_)).interval(
        plan.task("stay"), np.array([5.0])
    )
    assert (low[0], high[0]) == plan.task("stay").range


def test_one_row_of_each_patient_counts(plan: Plan) -> None:
    own, labels = _draw(np.random.default_rng(1), 90)
    names = np.repeat(np.arange(30), 3).astype(np.str_)
    fitted = fit_conformal(plan.task("death"), Calibrator(), own, labels, names)
    assert fitted == fit_conformal(plan.task("death"), Calibrator(), own[::3], labels[::3], names[::3])
    assert fitted.patients == 30
    assert coverage(plan.task("death"), fitted, Calibrator(), own, labels, names)["patients"] == 30


@pytest.mark.parametrize(("hits", "trials"), [(0, 12), (12, 12), (7, 9), (61, 77), (0, 1)])
def test_intervals_of_shares_are_the_exact_ones(hits: int, trials: int) -> None:
    exact = binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert binomial_interval(hits, trials) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_no_set_is_empty(plan: Plan) -> None:
    """Where a model is right more often than nine times in ten, some rows have no class inside by the rule alone."""
    random = np.random.default_rng(2)
    labels = (random.random(200) < 0.5).astype("f4")
    own = (np.where(labels == 1, 1, -1) * random.choice([0.2, 4.0], 200, p=[0.05, 0.95])).astype("f4")[:, None]
    fitted = fit_conformal(plan.task("death"), Calibrator(), own, labels, np.arange(200).astype(np.str_))
    sets = fitted.sets(plan.task("death"), Calibrator().probabilities(plan.task("death"), own))
    assert fitted.quantile < 0.5 and (sets.sum(axis=1) == 1).all()
