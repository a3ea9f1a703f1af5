"""The choice: another model than the federated one only where it is clearly better on rows that show it."""

import numpy as np
import pytest

from client.benefit.candidates import FEDERATED, FINE_TUNED, LOCAL
from client.benefit.choice import Choice, choose
from client.benefit.labelled import labelled
from common.plan import Plan

NAMES = np.arange(80).astype(np.str_)


def _choose(plan: Plan, offered: dict[str, np.ndarray], truth: np.ndarray, names: np.ndarray = NAMES) -> Choice:
    """For the first task of the plan, from its own columns."""
    labels = np.full((len(truth), 4), np.nan, "f4")
    labels[:, 0] = truth
    others = {name: np.pad(own, ((0, 0), (0, 5))) for name, own in offered.items()}
    return choose(labelled(plan, 0, others, labels, names), seed=0)


def _scores(labels: np.ndarray, strength: float, seed: int) -> np.ndarray:
    return (strength * labels + np.random.default_rng(seed).normal(size=len(labels))).astype("f4")[:, None]


@pytest.fixture
def labels() -> np.ndarray:
    return (np.random.default_rng(0).random(80) < 0.4).astype("f4")


def test_a_model_that_is_clearly_better_is_taken(plan: Plan, labels: np.ndarray) -> None:
    offered = {
        name: _scores(labels, s, i) for i, (name, s) in enumerate([(FEDERATED, 0.5), (FINE_TUNED, 0.6), (LOCAL, 3)])
    }
    found = _choose(plan, offered, labels)
    assert found.model == LOCAL and found.gains[LOCAL].value > found.gains[LOCAL].error
    assert found.why.startswith("On 80 validation rows its AUROC is better by 0.")


def test_equal_models_and_worse_ones_leave_the_federated_one(plan: Plan, labels: np.ndarray) -> None:
    own = _scores(labels, 2.0, 0)
    found = _choose(plan, {FEDERATED: own, FINE_TUNED: own, LOCAL: -own}, labels)
    assert found.model == FEDERATED and found.gains[FINE_TUNED].value == 0.0 and found.gains[LOCAL].value < 0


def test_a_gain_within_one_standard_error_is_no_reason(plan: Plan, labels: np.ndarray) -> None:
    seen = []
    for seed in range(60):
        offered = {FEDERATED: _scores(labels, 1.0, 2 * seed), LOCAL: _scores(labels, 1.0, 2 * seed + 1)}
        found = _choose(plan, offered, labels)
        gain = found.gains[LOCAL]
        assert (found.model == LOCAL) == (gain.value > gain.error)
        seen.append(0 < gain.value <= gain.error)
    assert any(seen)


def test_too_few_cases_and_no_rows_keep_the_federated_model(plan: Plan, labels: np.ndarray) -> None:
    good, bad = _scores(labels, 9.0, 0), _scores(labels, 0.0, 1)
    few = np.where(np.cumsum(labels) > 4, 0, labels).astype("f4")
    for truth in (few, np.full_like(labels, np.nan)):
        found = _choose(plan, {FEDERATED: bad, LOCAL: good}, truth)
        assert found.model == FEDERATED and found.why.startswith("Too few validation rows") and found.gains == {}


def test_a_model_without_the_task_is_not_chosen(plan: Plan, labels: np.ndarray) -> None:
    offered = {FEDERATED: _scores(labels, 0.0, 0), LOCAL: np.full((80, 1), np.nan, "f4")}
    assert _choose(plan, offered, labels).model == FEDERATED


def test_unlabelled_rows_say_nothing(plan: Plan, labels: np.ndarray) -> None:
    offered = {FEDERATED: _scores(labels, 0.5, 0), LOCAL: _scores(labels, 2.0, 1)}
    holes = np.where(np.arange(80) < 20, np.nan, labels).astype("f4")
    kept = {name: own[20:] for name, own in offered.items()}
    assert _choose(plan, offered, holes) == _choose(plan, kept, labels[20:], NAMES[20:])
