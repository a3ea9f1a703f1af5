"""The paired bootstrap over patients against a slow one with scikit-learn, and what it says where it cannot say."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from client.benefit import bootstrap
from client.benefit.bootstrap import compare, draws_of, too_few, value_of, weighted_auroc
from common.plan import Plan, Task

RANDOM = np.random.default_rng


def _rows(seed: int, *, patients: int = 40, most: int = 3) -> SimpleNamespace:
    """Several rows for each patient, with ties among the scores."""
    random = RANDOM(seed)
    owner = np.repeat(np.arange(patients), random.integers(1, most + 1, patients))
    labels = (random.random(patients)[owner] < 0.4).astype("f4")
    scores = [np.round(random.normal(shift * labels), 1).astype("f4")[:, None] for shift in (1.0, 0.6)]
    return SimpleNamespace(one=scores[0], other=scores[1], labels=labels, patients=owner.astype(np.str_))


@pytest.fixture
def binary(plan: Plan) -> Task:
    return plan.task("death")


@pytest.mark.parametrize("seed", range(3))
def test_a_draw_is_the_auroc_of_its_repeated_rows(seed: int) -> None:
    rows = _rows(seed)
    weights = np.concatenate(list(draws_of(rows.patients, seed=seed, draws=20)))
    found = weighted_auroc(rows.one[:, 0], rows.labels == 1, weights)
    for draw, area in zip(weights.astype(int), found, strict=True):
        repeated = np.repeat(np.arange(len(draw)), draw)
        assert area == pytest.approx(roc_auc_score(rows.labels[repeated], rows.one[repeated, 0]), abs=1e-12)


def test_draws_take_all_rows_of_a_patient_and_as_many_patients_as_there_are() -> None:
    patients = _rows(0).patients
    weights = np.concatenate(list(draws_of(patients, seed=1, draws=50)))
    first = [np.flatnonzero(patients == each)[0] for each in np.unique(patients)]
    assert (weights[:, first].sum(axis=1) == len(first)).all()
    for each in np.unique(patients):
        rows = weights[:, patients == each]
        assert (rows == rows[:, :1]).all()


def test_difference_is_that_of_a_slow_bootstrap(binary: Task) -> None:
    rows = _rows(4, patients=80)
    fast = compare(binary, rows.one, rows.other, rows.labels, rows.patients, seed=0)
    random, unique, drawn = RANDOM(9), np.unique(rows.patients), []
    of = {each: np.flatnonzero(rows.patients == each) for each in unique}
    for _ in range(1_500):
        index = np.concatenate([of[each] for each in random.choice(unique, len(unique))])
        areas = [roc_auc_score(rows.labels[index], own[index, 0]) for own in (rows.one, rows.other)]
        drawn.append(areas[0] - areas[1])
    exact = [roc_auc_score(rows.labels, own[:, 0]) for own in (rows.one, rows.other)]
    assert fast is not None and fast.value == pytest.approx(exact[0] - exact[1])
    assert fast.error == pytest.approx(np.std(drawn), rel=0.1)
    assert [fast.low, fast.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.2 * fast.error)


def test_rows_written_twice_are_no_more_patients(binary: Task) -> None:
    rows = _rows(2, most=1)
    once = compare(binary, rows.one, rows.other, rows.labels, rows.patients, seed=0)
    pairs = [np.concatenate([each, each]) for each in (rows.one, rows.other, rows.labels, rows.patients)]
    twice = compare(binary, *pairs, seed=0)
    assert once is not None and twice is not None
    assert twice.value == pytest.approx(once.value) and twice.error == pytest.approx(once.error, rel=0.1)


def test_many_rows_are_drawn_in_pieces(binary: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows(3)
    whole = compare(binary, rows.one, rows.other, rows.labels, rows.patients, seed=5)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 7 * len(rows.labels))
    assert compare(binary, rows.one, rows.other, rows.labels, rows.patients, seed=5) == whole


def test_a_quantity_is_judged_by_its_mean_absolute_error(plan: Plan) -> None:
    random = RANDOM(1)
    labels = random.normal(5, 2, 60).astype("f4")
    near, far = (labels[:, None] + random.normal(0, s, (60, 1)).astype("f4") for s in (0.5, 3.0))
    gain = compare(plan.task("stay"), near, far, labels, np.arange(60).astype(np.str_), seed=0)
    assert gain is not None and 0 < gain.low < gain.value < gain.high
    assert gain.value == pytest.approx(np.abs(far[:, 0] - labels).mean() - np.abs(near[:, 0] - labels).mean(), rel=1e-5)


def test_classes_are_each_judged_against_the_rest(plan: Plan) -> None:
    random, task = RANDOM(2), plan.task("triage")
    labels = random.integers(0, 3, 50).astype("f4")
    own = random.normal(size=(50, 3)).astype("f4")
    weights = np.ones((1, 50))
    areas = [roc_auc_score(labels == k, own[:, k]) for k in range(3)]
    assert value_of(task, own, labels, weights)[0] == pytest.approx(np.mean(areas))


def test_a_class_of_few_rows_is_left_aside(plan: Plan) -> None:
    """Else a third of the draws would lack its only case, and nothing could be said of the other classes."""
    random, task = RANDOM(6), plan.task("triage")
    labels = np.array([0.0] * 30 + [1.0] * 30 + [2.0], dtype="f4")
    one, other = (random.normal(size=(61, 3)).astype("f4") + np.eye(3)[labels.astype(int)] for _ in range(2))
    found = compare(task, one.astype("f4"), other.astype("f4"), labels, np.arange(61).astype(np.str_), seed=0)
    areas = [np.mean([roc_auc_score(labels == k, own[:, k]) for k in (0, 1)]) for own in (one, other)]
    assert found is not None and found.value == pytest.approx(areas[0] - areas[1], abs=1e-6) and found.draws == 2_000


def test_too_few_cases_are_no_comparison(plan: Plan, binary: Task) -> None:
    labels, own = np.array([0.0] * 30 + [1.0] * 4, dtype="f4"), np.zeros((34, 1), "f4")
    names = np.arange(34).astype(np.str_)
    assert too_few(binary, labels, names) == "4 of 34 rows are outside the largest class; at least 5 are needed"
    assert compare(binary, own, own, labels, names, seed=0) is None
    stay = plan.task("stay")
    assert too_few(stay, labels[:4], names[:4]) is not None and too_few(stay, labels, names) is None


def test_cases_of_one_patient_are_no_comparison(binary: Task) -> None:
    """In a third of the draws that patient is not there, and they have one class only."""
    labels = np.array([1.0] * 6 + [0.0] * 30, dtype="f4")
    patients = np.array(["a"] * 6 + [f"b{i}" for i in range(30)])
    own = RANDOM(0).normal(size=(36, 1)).astype("f4")
    assert compare(binary, own, own, labels, patients, seed=0) is None
