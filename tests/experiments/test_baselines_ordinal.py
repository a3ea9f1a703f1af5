"""Ordered classes in the baselines: every learner says how likely a row is to lie beyond each class."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from common.plan import plan_from_dict
from common.tally import sigmoid
from experiments.baselines.inputs import LinearInputs
from experiments.baselines.learners import constant, gradient_boosting, logistic_regression, svm
from tests.conftest import small_content

LEARNERS = {"logistic": logistic_regression, "boosting": gradient_boosting, "svm": svm}
TASK = {"name": "triage", "kind": "ordinal", "label": "level", "classes": [1, 2, 3, 4]}
PLAN = plan_from_dict(small_content() | {"tasks": [TASK]}, source="x")


def rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    age = random.uniform(20, 90, 300)
    other = [random.normal(130, 20, 300), random.integers(0, 2, 300), random.integers(0, 3, 300)]
    level = np.digitize(age + random.normal(0, 8, 300), [40, 55, 70])
    return np.stack([age, *other], axis=1).astype(np.float32), level.astype(np.float32)


@pytest.mark.parametrize("name", LEARNERS)
def test_scores_rank_the_classes(name: str) -> None:
    (features, labels), (others, truth) = rows(1), rows(2)
    fitted = LEARNERS[name](PLAN, PLAN.tasks[0], features, labels, 0)
    scores = fitted.scores(others)
    assert scores.shape == (300, 3) and np.isfinite(scores).all() and (np.diff(scores, axis=1) <= 1e-5).all()
    assert np.abs((scores > 0).sum(axis=1) - truth).mean() < 0.6


def test_logistic_regression_adds_up_the_classes_beyond() -> None:
    (features, labels), (others, _) = rows(1), rows(2)
    inputs = LinearInputs.of(PLAN, PLAN.tasks[0], features)
    judge = LogisticRegression(max_iter=2_000).fit(inputs(features), labels).predict_proba(inputs(others))
    found = sigmoid(logistic_regression(PLAN, PLAN.tasks[0], features, labels, 0).scores(others))
    for cut in range(3):
        assert found[:, cut] == pytest.approx(judge[:, cut + 1 :].sum(axis=1), abs=1e-6)


def test_a_constant_tells_the_shares() -> None:
    found = sigmoid(constant(PLAN.tasks[0], np.array([0, 0, 1, 3], dtype=np.float32)).scores(np.zeros((2, 4))))
    assert found == pytest.approx(np.tile([5 / 8, 3 / 8, 2 / 8], (2, 1)))  # one row is added to each class
