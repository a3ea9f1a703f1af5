"""Fixed point against exact fractions: integers bit for bit, headroom at its extreme, the bound of the error."""

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Refusal
from common.secagg.fixedpoint import _WORDS, MOST, FixedPoint
from tests.common.secagg.naive import counter_mode

COINS = bytes(range(32))


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[float, int]:
    """A clip norm and a number of sites; half of them within a step of the limit, where the proof has no room left."""
    count = draw(st.integers(1, 8191))
    steps = 2**31 / count - draw(st.floats(0, 2))
    return draw(st.one_of(st.floats(1e-10, 1e10), st.just(steps * 2.0 ** draw(st.integers(-40, 0))))), count


def _exact(values: np.ndarray, scale: float, stream: bytes, size: int) -> list[int]:
    """floor(x * scale), plus one where the rest exceeds u: in fractions; u in the middle of its interval."""
    result = []
    for i, value in enumerate(values.tolist()):
        scaled = Fraction(value) * Fraction(scale)
        coin = int.from_bytes(stream[size * i : size * (i + 1)], "little")
        u = Fraction(2 * coin + 1, 2 ** (8 * size + 1))
        result.append(math.floor(scaled) + (scaled - math.floor(scaled) > u))
    return result


def _coins(narrow: int, wide: int, key: bytes = COINS) -> tuple[bytes, bytes]:
    stream = counter_mode(key, 2, 2 * narrow + 4 * wide)
    return stream[: 2 * narrow], stream[2 * narrow :]


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**24), 2**24), max_size=40),
    st.lists(st.floats(-MOST, MOST), max_size=40),
    st.integers(-30, 10),
    st.binary(min_size=32, max_size=32),
)
def test_the_integers_are_those_of_exact_arithmetic(
    mantissas: list[int], tallies: list[float], exponent: int, key: bytes
) -> None:
    narrow = np.ldexp(np.array(mantissas, np.float32), exponent)
    narrow, wide = narrow.clip(-5, 5), np.array(tallies, np.float64)
    fixed = FixedPoint.fit(clip_norm=5.0, sites=10)
    found = fixed.integers(narrow, wide, key)
    coins = _coins(len(narrow), len(wide), key)
    assert found[0].tolist() == _exact(narrow, fixed.narrow_scale, coins[0], 2)
    assert found[1].tolist() == _exact(wide, fixed.wide_scale, coins[1], 4)


def test_a_rest_is_rounded_up_only_above_its_coin() -> None:
    """Rests a quarter of a coin's interval below, at and above the coin's u: down, down, up."""
    fixed, count = FixedPoint.fit(clip_norm=1.0, sites=3), 300
    coins = _coins(count, count)
    offsets = np.tile([-0.25, 0, 0.25], count // 3)
    narrow = (np.frombuffer(coins[0], "<u2") + 0.5 + offsets) / 2**16 / fixed.narrow_scale
    wide = (np.frombuffer(coins[1], "<u4") + 0.5 + offsets) / 2**32 / fixed.wide_scale
    for found in fixed.integers(narrow.astype(np.float32), wide, COINS):
        assert np.array_equal(found, offsets > 0)


@pytest.mark.parametrize("length", [0, 1, _WORDS, _WORDS + 1])
def test_across_our_own_blocks(length: int) -> None:
    random = np.random.default_rng(length)
    narrow, wide = random.uniform(-1, 1, length).astype(np.float32), random.uniform(-9, 9, length)
    fixed = FixedPoint.fit(clip_norm=1.0, sites=3000)  # so coarse that most entries are rounded
    found = fixed.integers(narrow, wide, COINS)
    coins = _coins(length, length)
    assert found[0].tolist() == _exact(narrow, fixed.narrow_scale, coins[0], 2)
    assert found[1].tolist() == _exact(wide, fixed.wide_scale, coins[1], 4)


def test_whole_steps_are_never_moved() -> None:
    fixed = FixedPoint.fit(clip_norm=1.0, sites=8000)
    steps = np.arange(-(2**17), 2**17 + 1)
    found = fixed.integers((steps / fixed.narrow_scale).astype(np.float32), steps.astype(np.float64), COINS)
    assert np.array_equal(found[0], steps) and np.array_equal(found[1], steps * 2**20)


@settings(deadline=None)
@given(cohorts())
def test_the_scale_is_the_finest_that_is_proven(cohort: tuple[float, int]) -> None:
    clip, count = cohort
    fixed = FixedPoint.fit(clip_norm=clip, sites=count)
    assert math.frexp(fixed.narrow_scale)[0] == 0.5  # a power of two
    used = count * (Fraction(clip) * Fraction(fixed.narrow_scale) + 1)
    finer = count * (Fraction(clip) * Fraction(2 * fixed.narrow_scale) + 1)
    assert used < 2**31 <= finer
    assert count * (2**30 * Fraction(fixed.wide_scale) + 1) < 2**63


@settings(deadline=None)
@given(cohorts(), st.sampled_from([-1, 1]))
def test_the_sum_cannot_run_over_at_its_extreme(cohort: tuple[float, int], sign: int) -> None:
    """Every site sends +clip (or -clip, or what float32 makes of it), and the greatest tallies."""
    clip, count = cohort
    fixed = FixedPoint.fit(clip_norm=clip, sites=count)
    nearest = np.float32(clip)
    narrow = sign * np.array([nearest, np.nextafter(nearest, np.float32(np.inf)), nearest * np.float32(1 + 5e-6)])
    wide = sign * np.array([MOST, MOST - 0.3])
    ours = fixed.integers(narrow, wide, COINS)
    total = np.uint32(count) * ours[0].view(np.uint32), np.uint64(count) * ours[1].view(np.uint64)
    exact = [count * int(value) for value in [*ours[0], *ours[1]]]
    assert max(abs(value) for value in exact[:3]) < 2**31 and max(abs(value) for value in exact[3:]) < 2**63
    decoded = fixed.decode(*total)
    assert [int(Fraction(v) * Fraction(fixed.narrow_scale)) for v in decoded[:3]] == exact[:3]
    assert np.allclose(decoded[3:], count * wide, rtol=1e-12)
    assert np.allclose(decoded[:3], sign * count * clip, rtol=2e-5, atol=count / fixed.narrow_scale)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 200), st.floats(1e-3, 1e3), st.integers(0, 2**32))
def test_the_error_of_a_sum_keeps_its_bound(count: int, length: int, clip: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    fixed = FixedPoint.fit(clip_norm=clip, sites=8000)
    total, exact = np.zeros(length, np.uint32), np.zeros(length)
    for _ in range(count):
        vector = random.normal(size=length)
        vector = (vector * clip / np.linalg.norm(vector)).astype(np.float32)
        total += fixed.integers(vector, np.zeros(0), random.bytes(32))[0].view(np.uint32)
        exact += vector.clip(-clip, clip)
    error = np.linalg.norm(fixed.decode(total, np.zeros(0, np.uint64)) - exact)
    assert error <= fixed.error_bound(length, count) * (1 + 1e-9)
    assert fixed.error_bound(length, count) == pytest.approx(math.sqrt(length) * count / fixed.narrow_scale)


@pytest.mark.parametrize("rest", [0.0, 1 / 65536, 0.1, 0.25, 0.5, 0.75, 0.999, -0.3])
def test_rounding_is_unbiased(rest: float) -> None:
    """Six standard deviations of 400,000 coins, fixed by the key: a bias of a hundredth of a step would fail."""
    fixed, count = FixedPoint.fit(clip_norm=1.0, sites=3), 400_000
    narrow = np.full(count, rest / fixed.narrow_scale, np.float32)
    wide = np.full(count, rest / fixed.wide_scale)
    allowed = 6 * math.sqrt((rest % 1) * (1 - rest % 1) / count) + 2**-17
    for found in fixed.integers(narrow, wide, COINS):
        assert set(found.tolist()) <= {math.floor(rest), math.ceil(rest)}
        assert abs(found.mean() - rest) <= allowed


def test_other_coins_round_otherwise() -> None:
    fixed, narrow = FixedPoint.fit(clip_norm=1.0, sites=3), np.full(1000, 1e-10, np.float32)
    first, again, other = (fixed.integers(narrow, np.zeros(0), key)[0] for key in (COINS, COINS, bytes(32)))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.0001, -1.0001, 3e38])
@pytest.mark.parametrize("place", [0, 70_000, 99_999])
def test_entries_out_of_range_are_refused_before_anything_is_written(value: float, place: int) -> None:
    fixed = FixedPoint.fit(clip_norm=1.0, sites=3)
    narrow, wide = np.zeros(100_000, np.float32), np.zeros(100_000)
    out = np.full(100_000, 7, np.uint32), np.full(100_000, 7, np.uint64)
    narrow[place] = value
    with pytest.raises(Refusal) as refusal:
        fixed.encode(narrow, wide, COINS, *out)
    narrow[place], wide[place] = 0, value if abs(value) > 1e9 or math.isnan(value) else math.copysign(MOST + 1, value)
    with pytest.raises(Refusal) as other:
        fixed.encode(narrow, wide, COINS, *out)
    assert refusal.value.code == other.value.code == "entry_out_of_range"
    assert (out[0] == 7).all() and (out[1] == 7).all()


@pytest.mark.parametrize(
    "arrays",
    [
        (np.zeros(3), np.zeros(2), np.zeros(3, np.uint32), np.zeros(2, np.uint64)),
        (np.zeros(3, np.float32), np.zeros(2, np.float32), np.zeros(3, np.uint32), np.zeros(2, np.uint64)),
        (np.zeros(3, np.float32), np.zeros(2), np.zeros(4, np.uint32), np.zeros(2, np.uint64)),
        (np.zeros(3, np.float32), np.zeros(2), np.zeros(3, np.uint32), np.zeros(1, np.uint64)),
        (np.zeros(3, np.float32), np.zeros(2), np.zeros(3, np.int32), np.zeros(2, np.uint64)),
        (np.zeros((3, 1), np.float32), np.zeros(2), np.zeros((3, 1), np.uint32), np.zeros(2, np.uint64)),
    ],
)
def test_other_arrays_are_an_error(arrays: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(ValueError, match="asked for"):
        FixedPoint.fit(clip_norm=1.0, sites=3).encode(arrays[0], arrays[1], COINS, arrays[2], arrays[3])


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, math.inf, 1e-11, 1e11, 5e-324])
def test_a_clip_norm_must_be_of_use(clip: float) -> None:
    with pytest.raises(ValueError, match="clip norm"):
        FixedPoint.fit(clip_norm=clip, sites=3)


@pytest.mark.parametrize("count", [0, -1, 8192, 2**40])
def test_a_number_of_sites_must_fit(count: int) -> None:
    with pytest.raises(ValueError, match="sites"):
        FixedPoint.fit(clip_norm=1.0, sites=count)


def test_no_second_copy_of_the_update_arises() -> None:
    fixed, length = FixedPoint.fit(clip_norm=1.0, sites=3), 4_000_000
    narrow, wide = np.full(length, 0.3, np.float32), np.zeros(3)
    out = np.zeros(length, np.uint32), np.zeros(3, np.uint64)
    tracemalloc.start()
    try:
        fixed.encode(narrow, wide, COINS, *out)
        assert tracemalloc.get_traced_memory()[1] < narrow.nbytes / 8
    finally:
        tracemalloc.stop()
