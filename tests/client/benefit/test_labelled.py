"""Labelled rows and hours: what counts as one, what is drawn, and that hours are no more patients."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from client.benefit.bootstrap import compare, too_few
from client.benefit.labelled import Labelled, labelled
from common.plan import Plan
from common.scores import task_columns
from tests.hourly import HOURS, hourly_plan

SHOCK, WORSE = 2, 3


def _stays(seed: int, stays: int = 60) -> tuple[Plan, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Plan, scores of two models, labels with gaps and stays without one, and patients of two stays each."""
    plan, random = hourly_plan(), np.random.default_rng(seed)
    ill = random.normal(size=(stays, 1))
    truth = (random.random((stays, 2 * HOURS)) < 1 / (1 + np.exp(1 - 2 * ill))).astype("f4")
    truth[random.random(truth.shape) < 0.5] = np.nan
    truth[random.random(stays) < 0.1, :HOURS] = np.nan
    labels = np.concatenate([np.full((stays, 4), np.nan), truth], axis=1).astype("f4")
    labels[:, 0] = np.where(random.random(stays) < 0.2, np.nan, ill[:, 0] > 0.0)
    own = {
        name: (strength * ill + random.normal(size=(stays, 4 + 2 * HOURS))).round(1).astype("f4")
        for name, strength in (("federated", 1.0), ("local", 0.3))
    }
    return plan, own, labels, (np.arange(stays) // 2).astype(np.str_)


def test_rows_of_a_stay_are_its_labelled_ones() -> None:
    plan, scores, labels, patients = _stays(0)
    found, known = labelled(plan, 0, scores, labels, patients), ~np.isnan(labels[:, 0])
    assert (found.at == np.flatnonzero(known)).all() and found.weights is None and found.one_each(seed=0) is found
    assert (found.labels == labels[known, 0]).all() and (found.patients == patients[known]).all()
    assert (found.scores["local"] == scores["local"][known, :1]).all()


@pytest.mark.parametrize("number", [SHOCK, WORSE])
def test_hours_belong_to_their_stays_and_count_as_one(number: int) -> None:
    plan, scores, labels, patients = _stays(1)
    found = labelled(plan, number, scores, labels, patients)
    first = 4 + (number - SHOCK) * HOURS
    each = [(stay, hour) for stay in range(60) for hour in range(HOURS) if not np.isnan(labels[stay, first + hour])]
    assert found.at.tolist() == [stay for stay, _ in each]
    assert found.labels.tolist() == [labels[stay, first + hour] for stay, hour in each]
    outputs = task_columns(plan)[-1].stop
    at = outputs + (number - SHOCK) * HOURS
    assert found.scores["federated"][:, 0].tolist() == [scores["federated"][stay, at + hour] for stay, hour in each]
    assert (found.patients == patients[found.at]).all()
    assert np.bincount(found.at, weights=found.weights)[np.unique(found.at)] == pytest.approx(1.0)


def test_one_hour_of_each_stay_is_drawn_and_every_hour_as_often() -> None:
    plan, scores, labels, patients = _stays(2)
    every = labelled(plan, SHOCK, scores, labels, patients)
    every = replace(every, scores={"local": np.arange(len(every.at), dtype="f4")[:, None]})  # which hour it is
    stay = np.flatnonzero(every.at == np.bincount(every.at).argmax())
    drawn: list[float] = []
    for seed in range(600):
        one = every.one_each(seed=seed)
        assert (one.at == np.unique(every.at)).all() and one.weights is None
        drawn += (one.scores["local"][one.at == every.at[stay[0]], 0] - stay[0]).tolist()
    counts = np.bincount(np.array(drawn, dtype=int), minlength=len(stay))
    assert len(stay) >= 4 and counts.min() > 0.6 * 600 / len(stay)
    assert (every.one_each(seed=5).labels == every.one_each(seed=5).labels).all()


def test_what_is_drawn_for_some_rows_does_not_depend_on_others() -> None:
    plan, scores, labels, patients = _stays(3)
    changed = labels.copy()
    changed[40:] = np.where(np.isnan(labels[40:]), 1.0, 1.0 - labels[40:])
    parts = [
        labelled(plan, WORSE, {k: v[:40] for k, v in scores.items()}, each[:40], patients[:40]).one_each(seed=1)
        for each in (labels, changed)
    ]
    assert (parts[0].labels == parts[1].labels).all()


def test_the_difference_of_hours_is_that_of_a_slow_bootstrap_over_patients() -> None:
    plan, scores, labels, patients = _stays(4, stays=120)
    rows = labelled(plan, SHOCK, scores, labels, patients)
    fast = _compare(rows)
    random, unique, drawn = np.random.default_rng(9), np.unique(patients), []
    of = {each: np.flatnonzero(rows.patients == each) for each in unique}

    def gain(index: np.ndarray) -> float:
        one, other = (
            roc_auc_score(rows.labels[index], rows.scores[name][index, 0], sample_weight=rows.weights[index])
            for name in ("federated", "local")
        )
        return float(one - other)

    for _ in range(1_200):
        drawn.append(gain(np.concatenate([of[each] for each in random.choice(unique, len(unique))])))
    assert fast is not None and fast.value == pytest.approx(gain(np.arange(len(rows.labels))))
    assert fast.error == pytest.approx(np.std(drawn), rel=0.1)
    assert [fast.low, fast.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.25 * fast.error)


def test_many_hours_of_few_patients_are_no_comparison() -> None:
    plan, scores, labels, patients = _stays(5, stays=120)
    rows = labelled(plan, SHOCK, scores, labels, patients)
    few = rows.of((rows.labels == 0.0) | np.isin(rows.patients, np.unique(rows.patients[rows.labels == 1.0])[:4]))
    told = too_few(few.task, few.labels, few.patients)
    assert told is not None and told.startswith("4 patients have an hour at which it is so and ")
    assert (few.labels == 1.0).sum() > 5 and _compare(few) is None


def _compare(rows: Labelled) -> object:
    pair = (rows.scores["federated"], rows.scores["local"])
    return compare(rows.task, *pair, rows.labels, rows.patients, seed=0, counts=rows.weights)
