"""The detector: rows like the training rows are seldom called strange, rows from elsewhere often."""

import numpy as np
import pytest

from client.benefit.outlier import fit_detector


def _cloud(random: np.random.Generator, rows: int, width: int = 16) -> np.ndarray:
    """Correlated values, cut at zero as masks and codes are."""
    mix = np.random.default_rng(99).normal(size=(width, width))
    return np.maximum(random.normal(size=(rows, width)) @ mix, 0.0)


@pytest.mark.parametrize("rows", [80, 300, 3_000])
def test_about_one_new_row_in_a_hundred_is_called_strange(rows: int) -> None:
    """Also where the training rows are few: each is measured against others, as a new one is."""
    shares = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        inputs, missing = _cloud(random, rows), random.random(rows) * 0.5
        detector = fit_detector(inputs, missing, np.arange(rows).astype(np.str_))
        shares.append(detector.strange(_cloud(random, 2_000)).mean())
    assert 0.002 < np.mean(shares) < 0.03


def test_rows_from_elsewhere_are_strange() -> None:
    random = np.random.default_rng(0)
    inputs = _cloud(random, 1_000)
    detector = fit_detector(inputs, np.zeros(1_000), np.arange(1_000).astype(np.str_))
    broken = np.stack([random.permutation(column) for column in inputs.T], axis=1)  # the same values, not together
    assert detector.strange(broken).mean() > 0.05  # five times what new rows have
    assert detector.strange(inputs + 4 * inputs.std(axis=0)).mean() > 0.9


def test_more_gaps_than_ninety_nine_of_a_hundred_training_rows_have() -> None:
    random = np.random.default_rng(1)
    missing = random.integers(0, 6, 1_000) / 10
    detector = fit_detector(_cloud(random, 1_000), missing, np.arange(1_000).astype(np.str_))
    assert detector.gaps(np.array([0.5, 0.6, 1.0])).tolist() == [False, True, True]


def test_too_few_rows_give_no_limits() -> None:
    random = np.random.default_rng(2)
    detector = fit_detector(_cloud(random, 49), np.zeros(49), np.arange(49).astype(np.str_))
    assert not detector.strange(np.full((1, 16), 1e6)).any() and not detector.gaps(np.ones(1)).any()


def test_inputs_that_never_vary_are_no_error() -> None:
    detector = fit_detector(np.zeros((100, 4)), np.zeros(100), np.arange(100).astype(np.str_))
    assert not detector.strange(np.zeros((2, 4))).any() and detector.strange(np.ones((1, 4))).all()
