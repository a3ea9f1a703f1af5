"""Merged tallies describe the union of the rows; scikit-learn is the judge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from common.histogram import close_ends, refine
from common.metrics import auroc, average_precision
from common.tally import ScoreTally, ValueTally, sigmoid
from tests.laws.asserts import assert_merge_is_associative


def _site(seed: int, rows: int, *, decimals: int = 2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.normal(0, 2, rows).round(decimals).astype(np.float32)
    return scores, random.random(rows) < sigmoid(scores)


@given(st.integers(0, 10**6), st.integers(2, 300), st.integers(0, 3))
@settings(max_examples=60)
def test_exact_metrics_agree_with_scikit_learn(seed: int, rows: int, decimals: int) -> None:
    scores, positive = _site(seed, rows, decimals=decimals)
    if positive.all() or not positive.any():
        assert auroc(scores, positive) is None
        return
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert average_precision(scores, positive) == pytest.approx(average_precision_score(positive, scores), abs=1e-12)


@given(st.lists(st.integers(1, 400), min_size=3, max_size=3), st.integers(0, 10**6), st.integers(8, 300))
@settings(max_examples=40)
def test_merged_scores_describe_the_union(sizes: list[int], seed: int, bins: int) -> None:
    sites = [_site(seed + i, rows) for i, rows in enumerate(sizes)]
    edges = np.linspace(-4, 4, bins - 1).astype(np.float32)
    tallies = [ScoreTally.of(scores, positive, edges).vector for scores, positive in sites]
    assert_merge_is_associative(tallies)
    merged = ScoreTally(sum(tallies))
    scores, positive = (np.concatenate(part) for part in zip(*sites, strict=True))
    metrics = merged.metrics()
    assert metrics["n"] == len(scores) and metrics["positives"] == positive.sum()
    assert metrics["brier"] == pytest.approx(brier_score_loss(positive, sigmoid(scores)), abs=1e-6)
    assert metrics["loss"] == pytest.approx(log_loss(positive, sigmoid(scores), labels=[False, True]), abs=1e-6)
    if positive.any() and not positive.all():
        area, bound = merged.auroc()
        assert abs(area - roc_auc_score(positive, scores)) <= bound + 1e-9
        binned = np.searchsorted(edges, scores, side="right")
        assert area == pytest.approx(roc_auc_score(positive, binned), abs=1e-12)
        assert metrics["auprc"] == pytest.approx(average_precision_score(positive, binned), abs=1e-12)


def test_refined_edges_make_the_bound_small_for_an_overconfident_model() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0, 2, 20_000)
    positive = random.random(20_000) < sigmoid(scores)
    scores = (9 + scores / 40).astype(np.float32)  # everything near certainty, as an overconfident model has it
    edges = np.linspace(-8, 8, 255).astype(np.float32)
    exact, first_bound = roc_auc_score(positive, scores), ScoreTally.of(scores, positive, edges).auroc()[1]
    for _ in range(2):
        counts = ScoreTally.of(scores, positive, edges).counts
        edges = refine(close_ends(edges.astype(np.float64)), counts, bins=256).astype(np.float32)
    area, bound = ScoreTally.of(scores, positive, edges).auroc()
    assert first_bound > 0.1
    assert bound < 0.003 and abs(area - exact) < 2e-4


@given(st.lists(st.integers(1, 200), min_size=3, max_size=3), st.integers(0, 10**6))
@settings(max_examples=30)
def test_merged_values_describe_the_union(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    sites = [(random.normal(5, 2, n).astype(np.float32), random.normal(5, 2, n).astype(np.float32)) for n in sizes]
    tallies = [ValueTally.of(p, y, low=0.0, span=20.0).vector for p, y in sites]
    assert_merge_is_associative(tallies)
    predicted, label = (np.concatenate(part).astype(np.float64) for part in zip(*sites, strict=True))
    metrics = ValueTally(sum(tallies)).metrics(span=20.0)
    assert metrics["mae"] == pytest.approx(np.abs(predicted - label).mean(), rel=1e-6)
    assert metrics["rmse"] == pytest.approx(np.sqrt(((predicted - label) ** 2).mean()), rel=1e-6)


def test_calibration_groups_hold_exact_means() -> None:
    scores, positive = _site(3, 5_000, decimals=6)
    edges = np.quantile(scores, np.arange(1, 256) / 256).astype(np.float32)
    calibration = ScoreTally.of(scores, positive, edges).calibration(groups=10)
    assert calibration["bound"] < 0.005 and sum(group["n"] for group in calibration["groups"]) == 5_000
    order = np.argsort(scores)[: calibration["groups"][0]["n"]]
    assert calibration["groups"][0]["predicted"] == pytest.approx(sigmoid(scores[order]).mean(), abs=1e-9)
    assert calibration["groups"][0]["observed"] == pytest.approx(positive[order].mean(), abs=1e-9)
