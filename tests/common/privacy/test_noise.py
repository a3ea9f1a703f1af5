"""Noise against the distributions that it is meant to have, by chi-square on a fixed key."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from common.privacy.noise import LARGEST_SIGMA, discrete_gaussian, rounded_gaussian
from tests.private import seeded

DRAWS = 400_000


def _rounded(size: int, sigma: float, seed: int) -> NDArray[np.int64]:
    return rounded_gaussian(size, sigma=sigma, random=seeded(seed)).numpy().astype(np.int64)


def _discrete(size: int, sigma: float, seed: int) -> NDArray[np.int64]:
    return discrete_gaussian(size, sigma=sigma, random=seeded(seed))


def _chi_square(drawn: NDArray[np.int64], values: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """p-value; values with fewer than ten expected draws make one bin together with everything beyond."""
    likely = probability * len(drawn) >= 10
    found = np.array([*((drawn == value).sum() for value in values[likely]), 0])
    found[-1] = len(drawn) - found.sum()
    expected = np.append(probability[likely], 1.0 - probability[likely].sum()) * len(drawn)
    return float(stats.chisquare(found, expected).pvalue)


@pytest.mark.parametrize("sigma", [0.3, 0.9, 1.0, 2.5, 20.0])
def test_discrete_gaussian_has_its_probabilities(sigma: float) -> None:
    values = np.arange(-200, 201)
    weight = np.exp(-(values**2) / (2.0 * sigma**2))
    assert _chi_square(_discrete(DRAWS, sigma, 1), values, weight / weight.sum()) > 1e-4


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 20.0])
def test_rounded_gaussian_has_its_probabilities(sigma: float) -> None:
    values = np.arange(-200, 201)
    probability = stats.norm.cdf((values + 0.5) / sigma) - stats.norm.cdf((values - 0.5) / sigma)
    assert _chi_square(_rounded(DRAWS, sigma, 1), values, probability) > 1e-4


@pytest.mark.parametrize("sigma", [1e3, LARGEST_SIGMA])
@pytest.mark.parametrize("draw", [_discrete, _rounded])
def test_wide_noise_is_normal(draw: Callable[[int, float, int], NDArray[np.int64]], sigma: float) -> None:
    drawn = draw(DRAWS, sigma, 2) / sigma
    assert stats.kstest(drawn, "norm").pvalue > 1e-4
    assert abs(drawn.mean()) < 4.5 / np.sqrt(DRAWS)
    assert abs(drawn.var() - 1.0) < 4.5 * np.sqrt(2.0 / DRAWS)
    assert abs((drawn**4).mean() - 3.0) < 4.5 * np.sqrt(96.0 / DRAWS)
    beyond = (np.abs(drawn) > 4.0).sum()
    assert stats.poisson.sf(beyond - 1, 6.33e-5 * DRAWS) > 1e-4 and stats.poisson.cdf(beyond, 6.33e-5 * DRAWS) > 1e-4


def test_discrete_gaussian_reaches_the_widest_grids() -> None:
    sigma = 2.0**40
    drawn = _discrete(DRAWS, sigma, 3)
    assert stats.kstest(drawn / sigma, "norm").pvalue > 1e-4
    last_digits = np.bincount(drawn & 7, minlength=8)
    assert stats.chisquare(last_digits).pvalue > 1e-4


@pytest.mark.parametrize("sigma", [2.0**8, 2.0**14, 2.0**19, LARGEST_SIGMA])
def test_every_last_digit_of_rounded_noise_is_used(sigma: float) -> None:
    """Single precision leaves no gaps between whole numbers, and rounding prefers none."""
    assert stats.chisquare(np.bincount(_rounded(10 * DRAWS, sigma, 4) & 7, minlength=8)).pvalue > 1e-4


def test_neighbouring_draws_are_independent() -> None:
    """Of a pair, of successive pairs and of successive blocks: also their sizes."""
    drawn = _rounded(DRAWS, 1e5, 5) / 1e5
    for lag in (1, 2, 1 << 14, 1 << 15):
        for one in (drawn, np.abs(drawn)):
            assert abs(np.corrcoef(one[:-lag], one[lag:])[0, 1]) < 4.5 / np.sqrt(DRAWS - lag)


@pytest.mark.parametrize("word", [b"\x00", b"\xff", b"\x80", b"\x7f"])
def test_the_tail_reaches_beyond_eight_sigma_and_ends(monkeypatch: pytest.MonkeyPatch, word: bytes) -> None:
    """With the extreme words of the stream. Its lowest bits alone decide whether a draw is beyond 8 sigma."""
    from common.privacy import noise

    class Extreme:
        def block(self, kind: type, count: int) -> np.ndarray:
            bits = 8 * np.dtype(kind).itemsize
            low = {b"\x00": 0, b"\xff": 2**bits - 1, b"\x80": 2 ** (bits - 1), b"\x7f": 2 ** (bits - 1) - 1}[word]
            return np.full(count, low, dtype=kind)

    (drawn,) = noise.rounded_blocks(2, sigma=2.0**20, stream=Extreme())
    assert np.isfinite(drawn).all() and np.abs(drawn).max() < 2**24
    assert (np.abs(drawn).max() > 8 * 2**20) == (word in (b"\x00", b"\xff"))


@pytest.mark.parametrize("draw", [_discrete, _rounded])
def test_noise_follows_from_the_key_alone(draw: Callable[[int, float, int], NDArray[np.int64]]) -> None:
    first, again, other = (draw(70_001, 1e4, seed) for seed in (7, 7, 8))
    assert len(first) == 70_001 and (first == again).all() and (first != other).mean() > 0.99


@pytest.mark.parametrize("size", [0, 1, 2, 3, 32_767, 32_769])
def test_any_number_can_be_drawn(size: int) -> None:
    for draw in (_discrete, _rounded):
        drawn = draw(size, 50.0, 9)
        assert drawn.shape == (size,) and (size < 10 or 45 < drawn.std() < 55)


@pytest.mark.parametrize("sigma", [-1.0, np.nan, np.inf, 2.0**41])
def test_impossible_noise_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma"):
        discrete_gaussian(3, sigma=sigma, random=seeded(0))
    with pytest.raises(ValueError, match="sigma"):
        rounded_gaussian(3, sigma=sigma, random=seeded(0))
