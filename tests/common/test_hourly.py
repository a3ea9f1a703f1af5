"""Hourly tasks: loss, tallies and metrics in which the labelled hours of a stay count as one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from common.evaluation import Evaluation, first_edges
from common.hourly import judged, known_at_last, label_columns, with_hours
from common.losses import MultiTaskLoss
from common.model import Layout
from common.scores import exact_metrics
from common.tally import ScoreTally
from tests.hourly import HOURS, hourly_plan

PLAN = hourly_plan()
SHOCK, WORSE = PLAN.hourly
OUTPUTS = 4


def _drawn(seed: int, stays: int = 30, labelled: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (n, outputs + K H), labels (n, T + K H), and the hours' labels (n, H, K)."""
    random = np.random.default_rng(seed)
    hours = random.integers(0, 2, (stays, HOURS, 2)).astype(np.float32)
    hours[random.random(hours.shape) > labelled] = np.nan
    hours[:3, :, 0] = np.nan
    known = ~np.isnan(hours)
    share = np.where(known.any(axis=1), np.nansum(hours, axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)
    stay = np.stack([random.integers(0, 2, stays), random.uniform(0, 20, stays)], axis=1)
    labels = with_hours(np.concatenate([stay, share], axis=1).astype(np.float32), hours)
    scores = random.normal(size=(stays, OUTPUTS + 2 * HOURS)).round(1).astype(np.float32)
    return scores, labels, hours


def test_layout_is_as_documented() -> None:
    scores, labels, hours = _drawn(0)
    assert labels.shape[1] == label_columns(PLAN) == 4 + 2 * HOURS
    part = judged(PLAN, WORSE, scores, labels)
    known = ~np.isnan(hours[:, :, 1])
    np.testing.assert_array_equal(part.labels, hours[:, :, 1][known])
    np.testing.assert_array_equal(part.scores[:, 0], scores[:, OUTPUTS + HOURS :][known])


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 0.9]))
def test_loss_against_a_slow_loop(seed: int, labelled: float) -> None:
    """For each stay the mean over its labelled hours; over stays the mean over all of them."""
    logits, labels, hours = _drawn(seed, stays=9, labelled=labelled)
    weights = np.array([0.0, 0.0, 1.5, 0.7], dtype=np.float32)
    expected = 0.0
    for task, weight in ((0, 1.5), (1, 0.7)):
        for stay in range(9):
            losses = [
                float(np.logaddexp(0.0, -x if hours[stay, hour, task] == 1.0 else x))
                for hour in range(HOURS)
                if not np.isnan(hours[stay, hour, task])
                for x in [float(logits[stay, OUTPUTS + task * HOURS + hour])]
            ]
            expected += weight * sum(losses) / max(len(losses), 1)
    loss = MultiTaskLoss(Layout(PLAN), torch.zeros(4), torch.ones(4))
    targets = loss.targets(torch.from_numpy(labels), torch.from_numpy(weights))
    variable = torch.from_numpy(logits).requires_grad_(True)
    found = loss(variable, targets)
    assert float(found.detach()) == pytest.approx(expected / 9, rel=1e-5, abs=1e-6)
    (gradient,) = torch.autograd.grad(found, variable)
    unlabelled = np.isnan(with_hours(np.zeros((9, OUTPUTS), dtype=np.float32), hours))
    assert not gradient.numpy()[unlabelled].any()


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_exact_metrics_are_those_of_weighted_hours(seed: int) -> None:
    scores, labels, hours = _drawn(seed)
    part = judged(PLAN, SHOCK, scores, labels)
    stays = int((~np.isnan(hours[:, :, 0])).any(axis=1).sum())
    found = exact_metrics(part.scores, part.labels, PLAN.tasks[SHOCK], weights=part.weights)
    own, weights = part.scores[:, 0], part.weights
    probability = 1 / (1 + np.exp(-own.astype(np.float64)))
    assert found["n"] == stays and found["hours"] == len(own) and weights.sum() == pytest.approx(stays)
    assert found["auroc"] == pytest.approx(roc_auc_score(part.labels, own, sample_weight=weights), abs=1e-9)
    precision = average_precision_score(part.labels, own, sample_weight=weights)
    assert found["auprc"] == pytest.approx(precision, abs=1e-9)
    assert found["brier"] == pytest.approx(brier_score_loss(part.labels, probability, sample_weight=weights))


def test_tallies_of_two_sites_add_up_to_the_metrics_of_all_hours() -> None:
    judge = Evaluation(PLAN, 64, True)
    edges = first_edges(judge.score_columns, bins=64)
    sites = [_drawn(seed)[:2] for seed in (1, 2)]
    total = sum(judge.of(scores, labels, edges, train_rows=np.full(4, 99)) for scores, labels in sites)
    pooled = judge.pooled(total)
    parts = [judged(PLAN, WORSE, scores, labels) for scores, labels in sites]
    scores, labels, weights = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("scores", "labels", "weights")
    )
    exact = exact_metrics(scores, labels, PLAN.tasks[WORSE], weights=weights)
    histogram = pooled["worse"]["auroc_histogram"]
    assert abs(histogram["auroc"] - exact["auroc"]) <= histogram["bound"] + 1e-12
    for name in ("n", "positives", "brier", "accuracy"):
        assert pooled["worse"]["pooled"][name] == pytest.approx(exact[name], abs=1e-9)
    own = [exact_metrics(p.scores, p.labels, PLAN.tasks[WORSE], weights=p.weights)["auroc"] for p in parts]
    assert pooled["worse"]["per_site_mean"]["auroc"] == pytest.approx(np.mean(own))


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_a_stay_adds_at_most_one_to_any_count(seed: int) -> None:
    scores, labels, _ = _drawn(seed, stays=4)
    part = judged(PLAN, WORSE, scores[3:], labels[3:])
    tally = ScoreTally.of(part.scores[:, 0], part.labels == 1.0, np.zeros(1, np.float32), weights=part.weights)
    log_loss = tally.vector[-2]
    assert (np.delete(tally.vector, -2) <= 1.0 + 1e-12).all() and log_loss >= 0
    assert tally.counts.sum() == pytest.approx(1.0 if len(part.labels) else 0.0)


def test_last_known_hour() -> None:
    hours = np.full((3, HOURS, 2), np.nan, dtype=np.float32)
    hours[0, 2, 1] = hours[0, 0, 0] = hours[1, HOURS - 1, 0] = 1.0
    assert known_at_last(hours).tolist() == [2, HOURS - 1, 0]
