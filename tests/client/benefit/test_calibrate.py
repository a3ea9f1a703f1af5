"""Calibration against miscalibrations that are known, because they were made."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from client.benefit.calibrate import Calibrator, calibration_error, calibrator_of, fit_calibrator
from common.plan import Plan, Task
from common.tally import sigmoid


@pytest.fixture
def binary(plan: Plan) -> Task:
    return plan.task("death")


def _labels(random: np.random.Generator, odds: np.ndarray) -> np.ndarray:
    return (random.random(len(odds)) < sigmoid(odds)).astype("f4")


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_slope_and_shift_are_found(binary: Task, temperature: float) -> None:
    random = np.random.default_rng(0)
    true = random.normal(-0.5, 1.5, 20_000)
    labels, own = _labels(random, true), (temperature * true + 0.8).astype("f4")[:, None]
    found = fit_calibrator(binary, own, labels)
    assert found.kind == "platt"
    assert found.slope == pytest.approx(1 / temperature, rel=0.06)
    assert found.offset == pytest.approx(-0.8 / temperature, abs=0.12)
    before, after = (calibration_error(each.probabilities(binary, own), labels) for each in (Calibrator(), found))
    assert after["ece"] < 0.012 < 0.05 < before["ece"] and after["brier"] < before["brier"]
    assert after["brier"] == pytest.approx(brier_score_loss(labels, found.probabilities(binary, own)[:, 1]))


def test_a_known_temperature_of_classes_is_found(plan: Plan) -> None:
    random, task = np.random.default_rng(1), plan.task("triage")
    logits = random.normal(0, 1.5, (20_000, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random((20_000, 1)) > np.cumsum(p, axis=1)).sum(axis=1).astype("f4")
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    own = np.clip(np.log(sharp) - np.log1p(-sharp), -14, 14).astype("f4")
    found = fit_calibrator(task, own, labels)
    assert found.kind == "temperature" and found.slope == pytest.approx(1 / 3, rel=0.05)
    fitted = found.probabilities(task, own)
    assert fitted.sum(axis=1) == pytest.approx(1.0) and np.abs(fitted - p).max() < 0.03
    assert calibration_error(fitted, labels)["ece"] < 0.02 < calibration_error(sharp, labels)["ece"]


@pytest.mark.parametrize("rows", [30, 120])
def test_patients_keep_their_order_even_where_the_model_has_it_backwards(binary: Task, rows: int) -> None:
    random = np.random.default_rng(2)
    true = random.normal(0, 2, rows)
    own = -true.astype("f4")[:, None]
    found = fit_calibrator(binary, own, _labels(random, true))
    p = found.probabilities(binary, own)[:, 1]
    assert found.slope > 0 and (np.argsort(p, kind="stable") == np.argsort(own[:, 0], kind="stable")).all()


def test_few_rows_do_not_stretch_the_odds(binary: Task) -> None:
    """Without a prior, rows that a model separates without an error would have a slope without a bound."""
    own = np.concatenate([np.full((15, 1), -1.0), np.full((15, 1), 1.0)]).astype("f4")
    found = fit_calibrator(binary, own, (own[:, 0] > 0).astype("f4"))
    assert found.kind == "temperature" and 1.0 < found.slope < 4.0


@pytest.mark.parametrize(
    ("rows", "cases", "kind"),
    [(19, 9, "none"), (60, 4, "none"), (20, 5, "temperature"), (60, 9, "temperature"), (50, 10, "platt")],
)
def test_the_rule_that_docs_state(binary: Task, rows: int, cases: int, kind: str) -> None:
    labels = np.array([1.0] * cases + [0.0] * (rows - cases), dtype="f4")
    found = fit_calibrator(binary, np.random.default_rng(0).normal(size=(rows, 1)).astype("f4"), labels)
    assert found.kind == kind and ("at least" in found.why) == (kind == "none")
    if kind == "none":
        assert (found.slope, found.offset) == (1.0, 0.0)


def test_the_scale_of_a_quantity_is_that_of_its_residuals(plan: Plan) -> None:
    random = np.random.default_rng(3)
    labels = random.normal(10, 4, 5_000).astype("f4")
    own = (labels + random.normal(0, 1.5, 5_000)).astype("f4")[:, None]
    found = fit_calibrator(plan.task("stay"), own, labels)
    assert found.kind == "residuals" and found.scale == pytest.approx(1.5, rel=0.05)
    assert fit_calibrator(plan.task("stay"), own[:19], labels[:19]).kind == "none"


def test_error_of_calibration_by_hand() -> None:
    p = np.repeat([0.1, 0.8], 10)
    labels = np.array([0] * 8 + [1] * 2 + [0] * 5 + [1] * 5, dtype="f4")
    found = calibration_error(np.stack([1 - p, p], axis=1), labels)
    assert found["ece"] == pytest.approx((0.1 + 0.3) / 2)
    assert found["brier"] == pytest.approx(brier_score_loss(labels, p))


@pytest.mark.parametrize("rows", [30, 300])
def test_error_of_a_perfect_model_is_what_chance_gives(rows: int) -> None:
    random = np.random.default_rng(0)
    p = random.uniform(0, 1, rows)
    both = np.stack([1 - p, p], axis=1)
    found = [calibration_error(both, (random.random(rows) < p).astype("f4")) for _ in range(300)]
    assert np.mean([each["ece"] for each in found]) == pytest.approx(found[0]["ece_if_perfect"], rel=0.1)


@pytest.mark.parametrize(("temperature", "kept"), [(4.0, True), (1.0, False)])
def test_calibration_is_used_where_it_shows_on_rows_it_was_not_fitted_on(
    binary: Task, temperature: float, kept: bool
) -> None:
    """A model that is three times too sure is set right from 80 rows in most hospitals, a good one is left alone."""
    used = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        true = random.normal(0, 1.5, 80)
        own = (temperature * true).astype("f4")[:, None]
        found = calibrator_of(binary, own, _labels(random, true), np.arange(80).astype(np.str_))
        assert (found.kind == "none") == ("show no gain" in found.why)
        used.append(found.kind != "none")
    assert np.mean(used) > 0.9 if kept else np.mean(used) < 0.2
