"""Ordered classes: probabilities that fall from class to class, the loss of a class, and metrics that add up."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from common.errors import PlanError
from common.evaluation import Evaluation, first_edges
from common.losses import MultiTaskLoss
from common.model import Layout, Normaliser
from common.ordinal import answers, class_probabilities
from common.plan import Plan, plan_from_dict
from common.privacy.evaluation import PrivateEvaluation
from common.scores import exact_metrics, scores_of_logits
from common.tally import sigmoid
from tests.conftest import small_content
from tests.laws.asserts import assert_merge_is_associative

CLASSES = [1, 2, 3, 4]
CUTS = len(CLASSES) - 1


def plan_of(**changes: Any) -> Plan:
    content = small_content()
    content["tasks"] = [
        {"name": "death", "label": "died"},
        {"name": "severity", "kind": "ordinal", "label": "level", "classes": CLASSES},
        {"name": "ward_kind", "kind": "multiclass", "label": "sbp_class", "classes": [1, 2, 3]},
    ]
    return plan_from_dict(content | changes, source="x")


def scale(plan: Plan) -> Normaliser:
    zeros, ones = np.zeros(4, "f4"), np.ones(4, "f4")
    edges = np.tile(np.arange(5, dtype=np.float32), (4, 1))
    return Normaliser(zeros, ones, edges, ones, zeros[:3], ones[:3], ones[:3], 9.0)


def scored(seed: int, rows: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """(logits of all outputs, ordinal scores, classes) with some relation between the two."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, CUTS + 1, rows)
    logits = random.normal(0, 2, (rows, 1 + CUTS + 3))
    logits[:, 1 : 1 + CUTS] += truth[:, None] - 1.5
    plan = plan_of()
    scores = scores_of_logits(torch.from_numpy(logits).float(), scale(plan), plan)
    return torch.from_numpy(logits).float(), scores[:, 1 : 1 + CUTS], truth.astype(np.float32)


@given(st.lists(st.floats(-400, 400, width=32), min_size=3, max_size=3))
def test_probabilities_fall_and_add_up_whatever_the_logits(logits: list[float]) -> None:
    plan = plan_of()
    row = torch.tensor([[0.0, *logits, 0.0, 0.0, 0.0]])
    scores = scores_of_logits(row, scale(plan), plan)[:, 1:4]
    assert np.isfinite(scores).all() and (np.diff(scores) <= 0).all()
    each = class_probabilities(sigmoid(scores))
    assert (each >= 0).all() and each.sum() == pytest.approx(1.0)
    chain = sigmoid(np.array(logits))
    expected = [(1 - chain[0]), chain[0] * (1 - chain[1]), chain[0] * chain[1] * (1 - chain[2]), chain.prod()]
    assert each[0] == pytest.approx(expected, abs=3e-6)


@given(st.integers(0, 10**6), st.integers(1, 30))
@settings(max_examples=30)
def test_the_loss_is_that_of_the_class(seed: int, rows: int) -> None:
    """-log of the probability of the true class, for its task alone, and nothing of a row without a label."""
    logits, scores, truth = scored(seed, rows)
    plan = plan_of()
    labels = torch.full((rows, 3), torch.nan)
    labels[:, 1] = torch.from_numpy(truth)
    if rows > 2:
        labels[2, 1] = torch.nan
    loss = MultiTaskLoss(Layout(plan), torch.zeros(3), torch.ones(3))
    own = class_probabilities(sigmoid(scores))[np.arange(rows), truth.astype(int)]
    known = ~labels[:, 1].isnan().numpy()
    logits.requires_grad_(True)
    found = loss(logits, loss.targets(labels, torch.tensor([1.0, 2.0, 1.0])))
    assert found.item() == pytest.approx(2.0 * -np.log(own[known]).sum() / rows, rel=1e-3, abs=1e-5)
    found.backward()
    asked = ~answers(labels[:, 1], CUTS).isnan()
    assert torch.equal(logits.grad[:, 1 : 1 + CUTS] != 0, asked)
    assert not logits.grad[:, 0].any() and not logits.grad[:, 4:].any()


@given(st.lists(st.integers(5, 200), min_size=3, max_size=3), st.integers(0, 10**6))
@settings(max_examples=25)
def test_sums_over_sites_give_what_scikit_learn_gives(sizes: list[int], seed: int) -> None:
    plan = plan_of()
    judge = Evaluation(plan, 64, True)
    edges = first_edges(judge.score_columns, bins=64)
    vectors, all_scores, all_truth = [], [], []
    for number, rows in enumerate(sizes):
        logits, scores, truth = scored(seed + number, rows)
        labels = np.full((rows, 3), np.nan, dtype=np.float32)
        labels[:, 1] = truth
        vectors.append(judge.of(scores_of_logits(logits, scale(plan), plan), labels, edges))
        all_scores.append(scores)
        all_truth.append(truth)
        assert len(vectors[-1]) == judge.size == sum(entries.size for entries in judge.entries)
    assert_merge_is_associative(vectors)
    entry = judge.pooled(np.sum(vectors, axis=0))["severity"]
    scores, truth = np.concatenate(all_scores), np.concatenate(all_truth)
    level = (scores > 0).sum(axis=1)
    exact = exact_metrics(scores, truth, plan.task("severity"))
    for found in (entry["pooled"], exact):
        assert found["n"] == len(truth)
        assert found["accuracy"] == pytest.approx((level == truth).mean())
        assert found["mae"] == pytest.approx(np.abs(level - truth).mean())
        if len(np.unique(level)) > 1 and len(np.unique(truth)) > 1:
            kappa = cohen_kappa_score(level, truth.astype(int), weights="quadratic", labels=range(CUTS + 1))
            assert found["kappa"] == pytest.approx(kappa, abs=1e-9)
        beyond = truth[:, None] > np.arange(CUTS)
        assert found["brier"] == pytest.approx(((sigmoid(scores) - beyond) ** 2).sum(axis=1).mean(), abs=1e-6)
    both = [k for k in range(CUTS) if 0 < (truth > k).sum() < len(truth)]
    assert exact["auroc"] == pytest.approx(np.mean([roc_auc_score(truth > k, scores[:, k]) for k in both]))
    assert abs(entry["pooled"]["auroc"] - exact["auroc"]) <= entry["auroc_histogram"]["bound"] + 1e-9


def test_a_row_adds_at_most_one_to_what_is_counted() -> None:
    plan = plan_of()
    judge = Evaluation(plan, 16, False)
    edges = first_edges(judge.score_columns, bins=16)
    for seed in range(50):
        logits, _, truth = scored(seed, 1)
        labels = np.array([[np.nan, truth[0], np.nan]], dtype=np.float32)
        vector = judge.of(scores_of_logits(logits, scale(plan), plan), labels, edges)
        assert vector[-8:-1].max() <= 1.0 and vector.min() >= 0.0  # the last entry is the third task's


def test_a_row_moves_the_evaluation_under_noise_by_no_more_than_its_sensitivity() -> None:
    privacy = {"unit": "patient", "noise": "local", "noise_multiplier": 1.0, "expected_patients": 500, "delta": 1e-5}
    plan = plan_of(privacy=privacy | {"max_grad_norm": 1.0})
    judge = PrivateEvaluation(plan)
    for seed in range(50):
        logits, _, truth = scored(seed, 1)
        labels = np.array([[1.0, truth[0], 2.0]], dtype=np.float32)
        vector = judge.of(scores_of_logits(logits, scale(plan), plan), labels, judge.first_edges())
        assert len(vector) == judge.size
        assert np.linalg.norm(vector) <= judge.sensitivity * (1 + 1e-9)
    logits, scores, truth = scored(1, 400)
    labels = np.full((400, 3), np.nan, dtype=np.float32)
    labels[:, 1] = truth
    total = judge.of(scores_of_logits(logits, scale(plan), plan), labels, judge.first_edges())
    found = judge.pooled(total, sites=1)["severity"]["pooled"]
    exact = exact_metrics(scores, truth, plan.task("severity"))
    assert found["accuracy"] == pytest.approx(exact["accuracy"], abs=1e-3)
    assert found["brier"] == pytest.approx(exact["brier"], abs=2e-3)
    assert found["auroc"] == pytest.approx(exact["auroc"], abs=0.05)


@pytest.mark.parametrize(
    "changes", [{"classes": None}, {"classes": [1, 2]}, {"positive_when": ">= 2"}, {"range": [0, 4]}]
)
def test_a_plan_says_what_an_ordinal_task_needs(changes: dict[str, Any]) -> None:
    task = {"name": "s", "kind": "ordinal", "label": "level", "classes": CLASSES} | changes
    with pytest.raises(PlanError, match=r"task 's': '(classes|positive_when|range)"):
        plan_of(tasks=[{name: value for name, value in task.items() if value is not None}])
