"""Secret random words for privacy mechanisms: AES-256-CTR under a key of 32 random bytes.

Noise, samples of patients and dropout masks must not be predictable from anything that the coordinator knows, so they
come from here and never from a plan's seed.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.secagg.keystream import Keystream
from common.secagg.primitives import Random

BLOCK = 1 << 17
"""Bytes made at a time: they and what is worked out from them stay in one core's cache."""
_PER_KEY = 1 << 34

_Word = TypeVar("_Word", np.uint16, np.uint32, np.uint64)


class Stream:
    """Uniform words. A key serves `_PER_KEY` bytes, then the next 32 random ones make another."""

    def __init__(self, random: Random) -> None:
        """random: gives the keys."""
        self._random, self._scratch, self._left = random, np.empty(BLOCK, dtype=np.uint8), 0

    def block(self, kind: type[_Word], count: int) -> NDArray[_Word]:
        """The next `count` words, at most BLOCK bytes of them: a view that the next call overwrites."""
        if self._left < BLOCK:
            self._keystream, self._left = Keystream(self._random(32), self._scratch), _PER_KEY
        self._left -= BLOCK
        return self._keystream.words(kind, count)

    def words(self, kind: type[_Word], count: int) -> NDArray[_Word]:
        """The next `count` words, (count,), in an array of their own."""
        result, most = np.empty(count, dtype=kind), BLOCK // np.dtype(kind).itemsize
        for first in range(0, count, most):
            result[first : first + most] = self.block(kind, min(most, count - first))
        return result


def poisson_sample(patients: int, probability: float, stream: Stream) -> NDArray[np.int64]:
    """Ascending indices of the patients in one step: each is in it with `probability`, whoever else is.

    The probability is met to 2^-64, downwards; at 1 every patient is in, at 0 none.
    Raises ValueError for a probability outside [0, 1].
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"a sampling probability of {probability}; it lies between 0 and 1")
    if probability == 1.0:
        return np.arange(patients)
    most, below = BLOCK // 8, np.uint64(int(probability * 2.0**64))
    starts = range(0, patients, most)
    chosen = [np.flatnonzero(stream.block(np.uint64, min(most, patients - s)) < below) + s for s in starts]
    return chosen[0] if len(chosen) == 1 else np.concatenate([np.zeros(0, dtype=np.int64), *chosen])
