"""Gaussian noise from a cryptographic source: whole numbers, for sums on an integer grid.

`discrete_gaussian` draws from the discrete Gaussian itself (Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for
Differential Privacy", algorithm 3), which shares of noise in a sum need. `rounded_gaussian` is several times faster and
serves the many steps of DP-SGD: adding a rounded normal to a whole number is rounding the sum of the two, that is
post-processing of the Gaussian mechanism, whose accounting therefore holds.

Both are worked in floating point. The discrete Gaussian's probabilities are off by about 2^-50 of themselves, where the
paper's algorithm is exact in rational arithmetic. The normal has float32's 24 bits; up to `LARGEST_SIGMA` neighbouring
floats are closer than the whole numbers that they become, and as many of them become each.
"""

from collections.abc import Iterator
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.privacy.stream import BLOCK, Stream
from common.secagg.primitives import Random

LARGEST_SIGMA = 2.0**20
"""Of `rounded_gaussian`: float32 tells halves apart up to 8 of it, and whole numbers up to 9.42, the largest draw."""

_WORDS = BLOCK // 8
NOISE_BLOCK = 2 * _WORDS


def discrete_gaussian(size: int, *, sigma: float, random: Random) -> NDArray[np.int64]:
    """Independent draws with P(k) proportional to exp(-k^2 / (2 sigma^2)), (size,) int64.

    sigma: in steps of the grid, above 0 and at most 2^40. random: gives the 32 bytes that everything follows from.
    Raises ValueError for another sigma.
    """
    if not 0.0 < sigma <= 2.0**40:
        raise ValueError(f"a discrete Gaussian with sigma {sigma}; above 0 and at most 2^40 are allowed")
    stream, result, filled = Stream(random), np.empty(size, dtype=np.int64), 0
    while filled < size:
        drawn = _accepted(min(_WORDS, 3 * (size - filled) // 2 + 16), sigma, stream)[: size - filled]
        result[filled : filled + len(drawn)] = drawn
        filled += len(drawn)
    return result


def _accepted(tries: int, sigma: float, stream: Stream) -> NDArray[np.int64]:
    """What is left of `tries` draws from the discrete Laplace distribution of scale floor(sigma) + 1."""
    scale = floor(sigma) + 1.0
    # floor(exponential) is geometric; the top bit of another word is the sign, and minus zero is thrown away.
    size = np.floor(-scale * np.log(_uniform(stream, tries)))
    negative = stream.block(np.uint64, tries) >> np.uint64(63) != 0
    likely = np.exp(-np.square((size - sigma * (sigma / scale)) / sigma) / 2.0)
    kept = (_uniform(stream, tries) <= likely) & ~(negative & (size == 0.0))
    drawn: NDArray[np.int64] = np.where(negative, -size, size)[kept].astype(np.int64)
    return drawn


def _uniform(stream: Stream, count: int) -> NDArray[np.float64]:
    """(count,) in (0, 1], with 53 significant bits down to 2^-65."""
    return np.ldexp(stream.block(np.uint64, count).astype(np.float64) + 0.5, -64)


def rounded_gaussian(size: int, *, sigma: float, random: Random) -> Tensor:
    """Independent normal draws of standard deviation `sigma`, each rounded to a whole number, (size,) float32.

    By Box and Muller 1958: 64 bits for a radius of up to 9.42 sigma, 32 bits for the angle.
    sigma: in steps of the grid, at most `LARGEST_SIGMA`, ValueError otherwise. random: as for `discrete_gaussian`.
    """
    result = np.empty(size, dtype=np.float32)
    blocks = rounded_blocks(size, sigma=sigma, stream=Stream(random))
    for first, noise in zip(range(0, size, NOISE_BLOCK), blocks, strict=True):
        result[first : first + NOISE_BLOCK] = noise
    return torch.from_numpy(result)


def rounded_blocks(size: int, *, sigma: float, stream: Stream) -> Iterator[NDArray[np.float32]]:
    """`rounded_gaussian` in pieces of `NOISE_BLOCK`; each is overwritten when the next one is asked for."""
    if not 0.0 <= sigma <= LARGEST_SIGMA:
        raise ValueError(f"rounded noise with sigma {sigma}; at most {LARGEST_SIGMA} is allowed")
    half = NOISE_BLOCK // 2
    double, single, result = np.empty(half), np.empty((2, half), np.float32), np.empty(NOISE_BLOCK, np.float32)
    for first in range(0, size, NOISE_BLOCK):
        pairs = (min(NOISE_BLOCK, size - first) + 1) // 2
        square, (radius, angle), both = double[:pairs], single[:, :pairs], result[: 2 * pairs].reshape(2, pairs)
        # The absolute value of a signed word is uniform too, and exact where it is small: there the tail is.
        np.copyto(square, stream.block(np.uint64, pairs).view(np.int64))
        np.abs(square, out=square)
        square += 0.5
        square *= 2.0**-63
        np.log(square, out=square)
        square *= -2.0 * sigma**2
        np.copyto(radius, square, casting="same_kind")
        np.sqrt(radius, out=radius)
        np.copyto(angle, stream.block(np.uint32, pairs).view(np.int32), casting="same_kind")
        angle *= np.float32(np.pi / 2.0**31)
        np.cos(angle, out=both[0])
        np.sin(angle, out=both[1])
        both *= radius
        # Halves are frequent among floats, and rounding them to even would give even numbers away: always up.
        both += np.float32(0.5)
        yield np.floor(both, out=both).reshape(-1)[: size - first]
