"""Room for noise: the largest entries and the tail of all shares never wrap around, and the grid stays fine."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.privacy.noise import discrete_gaussian
from common.secagg.fixedpoint import MOST, FixedPoint
from common.secagg.noise import NoiseShare

COINS = bytes(range(32))


@st.composite
def noisy_sums(draw: st.DrawFn) -> tuple[float, int, NoiseShare]:
    """A clip norm, a number of sites, and noise that fits as often as not."""
    clip, sites = draw(st.floats(1e-3, 1e3)), draw(st.integers(1, 8191))
    multiplier = 10 ** draw(st.floats(-2, 5))
    entries, shares = draw(st.integers(1, 10**7)), draw(st.integers(1, sites))
    return clip, sites, NoiseShare(multiplier, clip * 10 ** draw(st.floats(-4, 0)), entries, shares)


def _fits(clip: float, sites: int, noise: NoiseShare, scale: float) -> bool:
    return sites * (Fraction(clip) * Fraction(scale) + 1) + noise.tail(scale, sites=sites) < 2**31


@settings(deadline=None, max_examples=300)
@given(noisy_sums())
def test_the_largest_values_and_the_tail_never_wrap(case: tuple[float, int, NoiseShare]) -> None:
    clip, sites, noise = case
    try:
        fixed = FixedPoint.fit(clip_norm=clip, sites=sites, noise=noise)
    except ValueError as error:
        assert "no room for the sum in 32 bits" in str(error)
        assume(False)
    scale, tail = fixed.narrow_scale, noise.tail(fixed.narrow_scale, sites=sites)
    assert _fits(clip, sites, noise, scale) and not _fits(clip, sites, noise, 2 * scale)
    assert noise.sensitivity * scale >= math.sqrt(noise.entries)
    largest = np.array([clip, -clip], np.float32)
    integers = fixed.integers(largest, np.zeros(0), COINS)[0]
    total = np.uint32(sites) * integers.view(np.uint32) + np.array([tail, -tail], np.int64).astype(np.uint32)
    exact = [sites * int(integers[0]) + tail, sites * int(integers[1]) - tail]
    assert total.view(np.int32).tolist() == exact
    assert (fixed.decode(total, np.zeros(0, np.uint64)) * scale).tolist() == exact


@settings(deadline=None)
@given(noisy_sums())
def test_the_tail_is_rare_over_all_entries(case: tuple[float, int, NoiseShare]) -> None:
    """The bound of the docstring, on the logarithm: 2 D exp(-t^2 / (2 n sigma^2)) <= 2^-40."""
    _, sites, noise = case
    scale = 2.0**20
    t, sigma = noise.tail(scale, sites=sites), noise.steps(scale)
    assert math.log2(2 * noise.entries) - t**2 / (2 * sites * sigma**2) / math.log(2) <= -40


def test_more_noise_than_the_ring_has_room_for_is_refused() -> None:
    for multiplier, fits in ((100.0, True), (1e6, False)):
        noise = NoiseShare(multiplier, 0.5, 10**6, 3)
        if fits:
            FixedPoint.fit(clip_norm=0.5, sites=300, noise=noise)
            continue
        with pytest.raises(ValueError, match=r"1e\+06 times the sensitivity 0.5, over 300 sites and 1000000 entries"):
            FixedPoint.fit(clip_norm=0.5, sites=300, noise=noise)


@given(st.integers(1, 8191), st.floats(0.01, 1e13))
def test_the_wide_ring_has_room_for_its_noise_or_the_plan_is_refused(sites: int, multiplier: float) -> None:
    noise = NoiseShare(multiplier, 1.0, 1000, 1)
    tail = noise.tail(2.0**20, sites=sites)
    fits = sites * (2**50 + 1) + tail < 2**63
    try:
        fixed = FixedPoint.fit(clip_norm=1.0, sites=sites, wide_noise=noise)
    except ValueError as error:
        assert not fits and "64 bits" in str(error)
        return
    assert fits
    integer = fixed.integers(np.zeros(0, np.float32), np.array([MOST]), COINS)[1]
    total = np.uint64(sites) * integer.view(np.uint64) + np.array([tail], np.uint64)
    assert total.view(np.int64).tolist() == [sites * int(integer[0]) + tail]


@settings(deadline=None)
@given(st.integers(1, 400), st.floats(1e-3, 1.0), st.integers(0, 2**32), st.binary(min_size=32, max_size=32))
def test_rounding_moves_neighbours_apart_by_less_than_a_step_per_entry(
    length: int, share: float, seed: int, coins: bytes
) -> None:
    """The sensitivity that `steps` counts with: |Q(x) - Q(x')| <= scale |x - x'| + sqrt(D), with the same coins."""
    random = np.random.default_rng(seed)
    fixed = FixedPoint.fit(clip_norm=1.0, sites=8000)  # so coarse that rounding matters
    one = random.normal(size=length)
    one, change = 0.4 * one / np.linalg.norm(one), random.normal(size=length)
    other = (one + 0.5 * share * change / np.linalg.norm(change)).astype(np.float32)
    one = one.astype(np.float32)
    integers = [fixed.integers(each, np.zeros(0), coins)[0].astype(np.float64) for each in (one, other)]
    apart = np.linalg.norm(one.astype(np.float64) - other.astype(np.float64))
    assert np.linalg.norm(integers[0] - integers[1]) <= (fixed.narrow_scale * apart + math.sqrt(length)) * (1 + 2**-20)
    zero = fixed.integers(np.zeros(length, np.float32), np.zeros(0), coins)[0]
    assert not zero.any()


@pytest.mark.parametrize(("shares", "multiplier"), [(3, 1.0), (10, 0.5), (1, 4.0)])
def test_the_shares_of_the_fewest_honest_sites_add_up_to_the_noise_of_one_mechanism(
    shares: int, multiplier: float
) -> None:
    """Mean and variance within six standard deviations of 100,000 entries, from fixed keys."""
    count, scale = 100_000, 2.0**16
    noise = NoiseShare(multiplier, 1.0, count, shares)
    keys = np.random.default_rng(shares)
    total = sum(discrete_gaussian(count, sigma=noise.steps(scale), random=keys.bytes) for _ in range(shares))
    wanted = multiplier * (scale + math.sqrt(count))
    assert abs(total.mean()) <= 6 * wanted / math.sqrt(count)
    assert abs(total.var() / wanted**2 - 1) <= 6 * math.sqrt(2 / count)
    assert shares * noise.steps(scale) ** 2 >= wanted**2 + 4


def test_there_is_never_less_noise_than_discrete_gaussians_need_to_add_up() -> None:
    assert NoiseShare(1e-9, 1e-9, 1, 1).steps(1.0) == 8
