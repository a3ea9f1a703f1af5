"""Bins that noise leaves readable, counts made plausible, and the grid on which bounded values are exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.privacy.bins import FEWEST, bins_for, cleaned, noise_of_sum, on_grid, rows_of_patient
from tests.private import private_plan

COUNTS = st.lists(st.floats(-50, 200), min_size=1, max_size=12)


@given(st.floats(1, 1e6), st.floats(1e-3, 1e4), st.sampled_from([4.0, 16.0]), st.sampled_from([32, 128]))
def test_bins_are_the_most_that_are_readable(rows: float, noise: float, readable: float, most: int) -> None:
    allowed = [each for each in (4, 8, 16, 32, 64, 128) if each <= most and rows / each >= readable * noise]
    assert bins_for(rows, noise, readable=readable, most=most) == max(allowed, default=FEWEST)


def _nearest(counts: np.ndarray) -> np.ndarray:
    """By bisection over the constant that is taken from every bin."""
    low, high = counts.min() - abs(counts.sum()) - 1.0, counts.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(counts - middle, 0).sum() > max(counts.sum(), 0) else (low, middle)
    return np.maximum(counts - high, 0)


@given(COUNTS)
def test_cleaned_is_the_nearest_with_the_same_sum_and_nothing_below_0(counts: list[float]) -> None:
    noisy = np.array(counts)
    found = cleaned(noisy)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(max(noisy.sum(), 0.0), abs=1e-9)
    assert np.allclose(found, _nearest(noisy), atol=1e-6)


def test_cleaned_leaves_true_counts_alone_and_works_row_by_row() -> None:
    counts = np.array([[3.0, 0.0, 5.0], [-2.0, 1.0, -4.0], [0.0, 0.0, 0.0]])
    assert np.array_equal(cleaned(counts), [[3, 0, 5], [0, 0, 0], [0, 0, 0]])


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=1, max_size=30))
def test_values_on_the_grid_are_bounded_and_their_sums_exact(values: list[float]) -> None:
    found = on_grid(np.array(values), 0.5)
    assert (np.abs(found) <= 0.5).all()
    steps = [int(each * 2**20) for each in found]
    assert [each / 2**20 for each in steps] == found.tolist()
    assert found.sum() == sum(steps) / 2**20


def test_local_noise_grows_with_the_sites_and_shared_noise_is_one_mechanism_with_the_fewest() -> None:
    local, shared = private_plan(noise="local"), private_plan(noise="shared", colluding_sites=1, min_sites=5)
    assert noise_of_sum(local, multiplier=2.0, sensitivity=3.0, sites=4) == 12.0
    assert noise_of_sum(shared, multiplier=2.0, sensitivity=3.0, sites=4) == 6.0
    assert noise_of_sum(shared, multiplier=2.0, sensitivity=3.0, sites=9) == 9.0


def test_a_table_without_row_column_has_one_row_of_a_patient() -> None:
    assert rows_of_patient(private_plan(rows_per_patient=7)) == 1
    assert rows_of_patient(private_plan(rows_per_patient=7, row="stay")) == 7
