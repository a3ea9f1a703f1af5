"""Fixed point: real vectors as integers mod 2^32 and 2^64, whose sum over the sites is exact and cannot run over.

An entry x becomes floor(x * scale + u) with u uniform on (0, 1): on average exactly x * scale (stochastic rounding:
Gupta, Agrawal, Gopalakrishnan, Narayanan, ICML 2015). The scales are powers of two, so nothing else is ever rounded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.secagg import checks
from common.secagg.keystream import BLOCK, Keystream
from common.secagg.noise import NoiseShare

MOST = 2.0**30
"""Largest magnitude of a wide entry of one site."""

_WIDE_SCALE = 2.0**20
_SLACK = 1e-5  # what float32 may add to a norm; such an entry is set to the clip norm
_WORDS = BLOCK // 8  # per block: its working arrays stay in one core's cache


@dataclass(frozen=True)
class FixedPoint:
    """How one sum turns reals into integers and back. clip_norm: largest magnitude of a narrow entry of one site."""

    clip_norm: float
    narrow_scale: float
    wide_scale: float

    @staticmethod
    def fit(
        *, clip_norm: float, sites: int, noise: NoiseShare | None = None, wide_noise: NoiseShare | None = None
    ) -> "FixedPoint":
        """The finest scale at which the sum of `sites` vectors provably fits, with the noise that each of them holds.

        The clamped x is at most clip_norm in magnitude and rounding moves it by less than one step, so a site's integer
        is below clip_norm * scale + 1 in magnitude, and a sum over at most `sites` sites below `sites` times that.
        The shares of noise in it add at most `noise.tail`, but with probability 2^-40 over all entries of the sum.
        narrow_scale is the largest power of two with which both together are less than 2^31: two's complement mod 2^32
        then gives the sum itself. A single share may wrap around; that is arithmetic mod 2^32 like any other. Fewer
        sites than `sites` only leave more room. Wide entries likewise: sites * (2^30 * 2^20 + 1) + tail < 2^63.
        Raises ValueError unless clip_norm is from 1e-10 to 1e10, for more sites than the wide ring carries (8,191), and
        where the noise leaves no room for a grid that is fine beside the sensitivity.
        """
        if not 1e-10 <= clip_norm <= 1e10:
            raise ValueError(f"a clip norm of {clip_norm} is not from 1e-10 to 1e10")
        if sites < 1 or _wide_room(sites) <= 0:
            raise ValueError(f"{sites} sites: a sum is over 1 to 8191")
        if wide_noise is not None and wide_noise.tail(_WIDE_SCALE, sites=sites) >= _wide_room(sites):
            raise ValueError(_no_room(wide_noise, sites, "64 bits"))

        def fits(scale: float) -> bool:
            tail = 0 if noise is None else noise.tail(scale, sites=sites)
            return sites * (Fraction(clip_norm) * Fraction(scale) + 1) + tail < 2**31

        exponent = math.frexp((Fraction(2**31, sites) - 1) / Fraction(clip_norm))[1]
        while not fits(2.0**exponent):
            exponent -= 1
            if noise is not None and not noise.is_fine(2.0**exponent):
                raise ValueError(_no_room(noise, sites, "32 bits") + "; lower aggregation.clip_norm or the noise")
        return FixedPoint(clip_norm, 2.0**exponent, _WIDE_SCALE)

    def encode(
        self,
        narrow: NDArray[np.float32],
        wide: NDArray[np.float64],
        coins: bytes,
        out_narrow: NDArray[np.uint32],
        out_wide: NDArray[np.uint64],
    ) -> None:
        """Write the integers of (D,) float32 and (K,) float64 into (D,) uint32 and (K,) uint64, block by block.

        coins: 32 bytes, the key of the AES-256-CTR stream of the rounding: 2 bytes per narrow entry, then 4 per wide
        one; u is in the middle of the interval they stand for, so that a whole number stays itself.
        Raises Refusal `entry_out_of_range`, before anything is written, for NaN, infinity, a narrow entry beyond
        clip_norm * (1 + 1e-5) or a wide one beyond MOST; ValueError for shapes and dtypes.
        """
        _check_arrays(narrow, wide, out_narrow, out_wide)
        checks.require(
            _largest(narrow) <= self.clip_norm * (1 + _SLACK) and _largest(wide) <= MOST,
            "entry_out_of_range",
            f"An entry is not finite, above the clip norm {self.clip_norm} or, in a tally, above {MOST:.0f}.",
        )
        stream = Keystream(coins, np.empty(BLOCK, dtype=np.uint8))
        limit = _not_above(self.clip_norm)
        few, many = partial(stream.words, np.uint16), partial(stream.words, np.uint32)
        _round(narrow, limit, np.float32(self.narrow_scale), few, out_narrow.view(np.int32))
        _round(wide, np.float64(MOST), np.float64(self.wide_scale), many, out_wide.view(np.int64))

    def integers(
        self, narrow: NDArray[np.float32], wide: NDArray[np.float64], coins: bytes
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """What `encode` writes, as signed integers: (D,) and (K,). Raises as `encode` does."""
        out = np.empty(len(narrow), dtype=np.uint32), np.empty(len(wide), dtype=np.uint64)
        self.encode(narrow, wide, coins, *out)
        return out[0].view(np.int32), out[1].view(np.int64)

    def decode(self, narrow: NDArray[np.uint32], wide: NDArray[np.uint64]) -> NDArray[np.float64]:
        """The sum as reals, (D + K,) float64, from (D,) uint32 and (K,) uint64 in two's complement."""
        total = np.empty(len(narrow) + len(wide))
        np.multiply(narrow.view(np.int32), 1 / self.narrow_scale, out=total[: len(narrow)])
        np.multiply(wide.view(np.int64), 1 / self.wide_scale, out=total[len(narrow) :])
        return total

    def error_bound(self, parameters: int, sites: int) -> float:
        """Largest L2 error of the narrow sum of `sites` vectors of `parameters` entries: step * sqrt(D) * n.

        Every site's entry is off by less than one step, 1 / narrow_scale.
        """
        return math.sqrt(parameters) * sites / self.narrow_scale


def _wide_room(sites: int) -> Fraction:
    """What is left of half the wide ring beside the greatest entries of `sites` sites."""
    return 2**63 - sites * (Fraction(MOST) * Fraction(_WIDE_SCALE) + 1)


def _no_room(noise: NoiseShare, sites: int, ring: str) -> str:
    return (
        f"noise of {noise.multiplier:g} times the sensitivity {noise.sensitivity:g}, over {sites} sites and "
        f"{noise.entries} entries, leaves no room for the sum in {ring}"
    )


def _round(values: NDArray[Any], limit: Any, scale: Any, coins: Callable[[int], NDArray[Any]], out: Any) -> None:
    """out = floor(values * scale), and one more where the rest exceeds u: blockwise, in the values' own precision.

    That precision is enough: the product is exact; where it has a fraction its whole part is small, so that the rest
    and the last sum are exact too (but for the rest of a product in (-1, 0), which is rounded to its last bit).
    """
    half, unit = values.dtype.type(0.5), values.dtype.type(2.0 ** (-8 * coins(0).itemsize))
    work = np.empty((3, min(len(values), _WORDS)), dtype=values.dtype)
    for start in range(0, len(values), _WORDS):
        block = values[start : start + _WORDS]
        rest, whole, u = work[:, : len(block)]
        np.clip(block, -limit, limit, out=rest)
        rest *= scale
        np.floor(rest, out=whole)
        rest -= whole
        np.copyto(u, coins(len(block)))
        u += half
        u *= unit
        rest -= u
        whole += np.ceil(rest, out=rest)  # -0 or 1
        out[start : start + len(block)] = whole


def _largest(values: NDArray[Any]) -> float:
    """The largest magnitude, NaN if there is one, without a copy of `values`."""
    return max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))


def _not_above(limit: float) -> np.float32:
    """The largest float32 that is not above `limit`."""
    nearest = np.float32(limit)
    return nearest if float(nearest) <= limit else np.nextafter(nearest, np.float32(0))


def _check_arrays(*arrays: NDArray[Any]) -> None:
    found = [(array.dtype.name, array.shape) for array in arrays]
    shapes = [(len(array),) for array in arrays[:2]] * 2
    allowed = list(zip(("float32", "float64", "uint32", "uint64"), shapes, strict=True))
    if found != allowed:
        raise ValueError(f"arrays of {found} where {allowed} were asked for")
