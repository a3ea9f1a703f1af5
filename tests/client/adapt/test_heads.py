"""Heads with a penalty: the minimum that scikit-learn finds, for few rows and many; and how labels are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from client.adapt.choose import PENALTIES as TUNED
from client.adapt.choose import averaged_head
from client.adapt.draws import draw, folds, one_per_patient, source
from client.adapt.heads import fit_heads, row_losses
from common.plan import Task

PENALTIES = np.array([0.3, 10.0, 300.0])
BINARY = Task(name="t", label="y")
SEVERAL = Task(name="t", label="y", kind="multiclass", classes=(1.0, 2.0, 3.0))
ORDERED = Task(name="t", label="y", kind="ordinal", classes=(1.0, 2.0, 3.0))
VALUE = Task(name="t", label="y", kind="regression", range=(-9.0, 9.0))


def _rows(count: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(count + width)
    inputs = random.normal(1.0, 2.0, (count, width))
    score = inputs[:, 0] - inputs[:, 1] + random.normal(0, 1, count)
    edges = np.quantile(score, np.arange(1, classes) / classes)
    return inputs, np.digitize(score, edges).astype(np.float32)


@pytest.mark.parametrize(("count", "width"), [(10, 40), (200, 6), (60, 60)])
@pytest.mark.parametrize("task", [BINARY, SEVERAL], ids=["binary", "several"])
def test_the_minimum_is_that_of_scikit_learn(task: Task, count: int, width: int) -> None:
    inputs, labels = _rows(count, width, max(2, task.outputs))
    for penalty, head in zip(PENALTIES, fit_heads(task, inputs, labels, PENALTIES), strict=True):
        judge = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=100_000).fit(inputs, labels)
        ours, theirs = head(inputs), judge.decision_function(inputs).reshape(count, -1)
        if task is SEVERAL:  # a constant may be added to the logits of all classes
            ours, theirs = ours - ours.mean(axis=1, keepdims=True), theirs - theirs.mean(axis=1, keepdims=True)
        assert np.abs(ours - theirs).max() < 2e-3 * (1 + np.abs(theirs).max())
        log_loss = -np.log(judge.predict_proba(inputs)[np.arange(count), labels.astype(int)])
        assert row_losses(task, head(inputs), labels) == pytest.approx(log_loss, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(("count", "width"), [(12, 40), (200, 6)])
def test_ordered_classes_are_a_chain_of_binary_heads(count: int, width: int) -> None:
    """Each question is fitted to the rows that it is asked of, and judged on them."""
    inputs, labels = _rows(count, width, 3)
    for penalty, head in zip(PENALTIES, fit_heads(ORDERED, inputs, labels, PENALTIES), strict=True):
        expected = np.zeros(count)
        for cut in range(2):
            asked = labels >= cut
            judge = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=100_000)
            judge.fit(inputs[asked], labels[asked] > cut)
            assert head(inputs)[:, cut] == pytest.approx(judge.decision_function(inputs), rel=2e-3, abs=2e-3)
            own = judge.predict_proba(inputs[asked])[np.arange(asked.sum()), (labels[asked] > cut).astype(int)]
            expected[asked] -= np.log(own)
        assert row_losses(ORDERED, head(inputs), labels) == pytest.approx(expected, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(("count", "width"), [(10, 40), (200, 6)])
def test_a_quantity_is_ridge_regression(count: int, width: int) -> None:
    inputs, _ = _rows(count, width, 2)
    labels = (inputs[:, 0] / 3 + np.random.default_rng(0).normal(0, 1, count)).astype(np.float32)
    for penalty, head in zip(PENALTIES, fit_heads(VALUE, inputs, labels, PENALTIES), strict=True):
        judge = Ridge(alpha=penalty).fit(inputs, labels)
        assert head(inputs)[:, 0] == pytest.approx(judge.predict(inputs), abs=1e-6)


def test_labels_of_one_class_give_a_finite_head() -> None:
    inputs, _ = _rows(8, 3, 2)
    for head in fit_heads(BINARY, inputs, np.ones(8, dtype=np.float32), PENALTIES):
        assert np.isfinite(head(inputs)).all() and (head(inputs) > 0).all()


def test_candidates_count_by_what_they_predict_in_cross_validation() -> None:
    """Of inputs of which half are noise, the scale that shows the others wins; weights are those of scikit-learn."""
    random = np.random.default_rng(5)
    inputs = random.normal(0, 1, (120, 6))
    labels = (inputs[:, 0] + inputs[:, 1] + random.normal(0, 1, 120) > 0).astype(np.float32)
    scales = [np.repeat([1.0, 0.0], 3), np.repeat([0.0, 1.0], 3)]
    fold = np.arange(120) % 4
    mean, weights = averaged_head(BINARY, inputs, scales, labels, fold)
    losses, heads = [], []
    for scale in scales:
        for penalty in TUNED:
            total, model = 0.0, LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000)
            for each in range(4):
                fit, judge = fold != each, fold == each
                own = model.fit(inputs[fit] * scale, labels[fit]).predict_proba(inputs[judge] * scale)
                total -= np.log(own[np.arange(30), labels[judge].astype(int)]).sum()
            losses.append(total)
            heads.append(model.fit(inputs * scale, labels).decision_function(inputs * scale))
    expected = np.exp(min(losses) - np.array(losses))
    expected /= expected.sum()
    assert weights.ravel() == pytest.approx(expected, abs=1e-3) and weights[0].sum() > 0.999
    assert mean(inputs)[:, 0] == pytest.approx(expected @ np.array(heads), abs=1e-2)
    assert not mean.weight[3:].round(3).any()


@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.floats(0.05, 0.95))
def test_a_draw_keeps_shares_and_takes_a_patient_once(seed: int, count: int, share: float) -> None:
    random = np.random.default_rng(seed)
    patients = np.array([f"p{i // 2}" for i in range(240)])
    classes = (random.random(240) < share).astype(np.int64)
    try:
        rows = draw(classes, patients, count, source(seed, 1))
    except ValueError:
        drawn = one_per_patient(patients, source(seed, 1))
        assert np.bincount(classes[drawn], minlength=2).min() < 2
        return
    assert len(rows) == count == len(set(patients[rows]))
    found = np.bincount(classes[rows], minlength=2)
    assert found.min() >= 2
    # The shares are those of one row per patient, which stray from those of all rows by little.
    assert abs(found[1] - count * classes.mean()) <= max(2.0, 0.2 * count)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_folds_keep_patients_whole_and_classes_in_every_rest(seed: int, most: int) -> None:
    random = np.random.default_rng(seed)
    patients = np.array([f"p{i}" for i in random.integers(0, 12, 40)] + ["a", "b", "c", "d"])
    classes = np.array([0] * 40 + [1, 1, 1, 1])
    fold = folds(classes, patients, most, source(seed))
    for name in set(patients):
        assert len(set(fold[patients == name])) == 1
    assert set(fold) == set(range(min(most, 4)))
    for each in set(fold):
        assert set(classes[fold != each]) == {0, 1}
