"""Subgroups: no group of few patients can be found, nor worked out from a total and the others."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as draw

from client.benefit.subgroups import groupings, patients_of, rounded, shown
from tests.conftest import small_plan

COUNTS = draw.lists(draw.integers(0, 60), min_size=1, max_size=7)


@given(COUNTS, draw.integers(5, 20))
def test_nothing_shown_nor_any_difference_is_a_small_cell(counts: list[int], least: int) -> None:
    visible = shown(counts, least=least)
    seen = [count for count, there in zip(counts, visible, strict=True) if there and count]
    hidden = [count for count, there in zip(counts, visible, strict=True) if not there]
    assert all(count >= least for count in seen)
    assert 0 not in hidden
    if hidden and sum(counts) >= least:
        # Whoever knows the total knows what is hidden together, and no more of it.
        assert sum(hidden) >= least
        assert len(hidden) >= 2 or (not seen and len([count for count in counts if count]) == 1)
    for size in range(len(seen) + 1):
        for chosen in combinations(seen, size):
            rest = sum(counts) - sum(chosen)
            assert rest == 0 or rest >= least or sum(counts) < least


@given(COUNTS)
def test_nothing_is_hidden_without_need(counts: list[int]) -> None:
    if all(count == 0 or count >= 10 for count in counts):
        assert all(shown(counts, least=10))


@pytest.mark.parametrize(
    ("counts", "visible"),
    [
        ([40, 3, 12, 30], [True, False, False, True]),  # the smallest of the others goes with it
        ([40, 4, 5, 30], [True, False, False, False]),  # nine patients are too few even together
        ([40, 6, 5, 30], [True, False, False, True]),
        ([40, 0, 30], [True, True, True]),
        ([9, 50], [False, False]),
    ],
)
def test_by_hand(counts: list[int], visible: list[bool]) -> None:
    assert shown(counts, least=10) == visible


def _features(names: list[dict[str, object]]) -> object:
    return small_plan(features=names, tasks=[{"name": "death", "label": "died"}])


def test_columns_are_found_by_the_words_of_their_names() -> None:
    plan = _features(
        [
            {"name": "stage", "range": [0, 9]},
            {"name": "sex_male", "kind": "binary"},
            {"name": "age_years", "range": [0, 120]},
        ]
    )
    values = np.array(
        [[1, 1, 17], [1, 0, 18], [1, 1, 44], [1, 0, 45], [1, np.nan, 79], [1, 1, 80], [1, 0, np.nan]], "f4"
    )
    found = groupings(plan, values)
    assert [(what, each.feature) for what, each in found.items()] == [("sex", "sex_male"), ("age", "age_years")]
    names = {what: [each.names[k] for k in each.member] for what, each in found.items()}
    assert names["sex"] == ["male", "female", "male", "female", "not known", "male", "female"]
    assert names["age"] == [
        "below 18", "18 to 44", "18 to 44", "45 to 64", "65 to 79", "80 and above", "not known",
    ]  # fmt: skip


def test_other_ways_to_write_a_sex_and_none_at_all() -> None:
    plan = _features([{"name": "gender", "kind": "categorical", "categories": ["f", "m", "x"]}])
    assert groupings(plan, np.array([[2], [np.nan]], "f4"))["sex"].names == ("f", "m", "x", "not known")
    female = _features([{"name": "female", "kind": "binary"}])
    assert groupings(female, np.array([[1], [0]], "f4"))["sex"].names[:2] == ("male", "female")
    coded = _features([{"name": "sex", "kind": "binary"}])
    assert groupings(coded, np.zeros((1, 1), "f4"))["sex"].names[:2] == ("sex = 0", "sex = 1")
    assert groupings(_features([{"name": "dosage", "range": [0, 9]}]), np.zeros((1, 1), "f4")) == {}


def test_patients_are_counted_and_not_rows() -> None:
    plan = _features([{"name": "male", "kind": "binary"}])
    grouping = groupings(plan, np.array([[1], [1], [1], [0]], "f4"))["sex"]
    patients = np.array(["a", "a", "b", "c"])
    assert patients_of(grouping, np.ones(4, bool), patients)[:2] == [1, 2]
    assert patients_of(grouping, np.array([True, True, False, True]), patients)[:2] == [1, 1]
    assert [rounded(n) for n in (10, 12, 13, 17, 18)] == [10, 10, 15, 15, 20]
