"""What an attacker's answer is worth: compared with the truth entry by entry, or tested for any trace of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LIMIT = 5.0  # standard deviations: an honest figure is farther off once in two million runs


@dataclass(frozen=True)
class Measured:
    """worthless: as the measure says. what: one sentence with the figure."""

    worthless: bool
    what: str


def recovered(guess: NDArray[np.int64], truth: NDArray[np.int64], whose: str) -> Measured:
    """How many entries, (N,), of a site's integers the attacker has."""
    found = int((guess == truth).sum())
    return Measured(found <= len(truth) // 100, f"Recovered {found:,} of {len(truth):,} entries of {whose}.")


def noise(found: NDArray[np.uint32], truth: NDArray[np.int32]) -> Measured:
    """Whether `found`, (N,), is uniform on the ring 2^32 and does not follow `truth`, (N,).

    Chi-square of 256 equal bins, as a normal deviate (Wilson and Hilferty, 1931), and the correlation with the truth
    times the root of N: both are standard normal for noise.
    """
    counts = np.bincount(found >> 24, minlength=256)
    expected = len(found) / 256
    chi, free = float(((counts - expected) ** 2 / expected).sum()), 255
    deviate = ((chi / free) ** (1 / 3) - (1 - 2 / (9 * free))) / (2 / (9 * free)) ** 0.5
    follows = float(np.corrcoef(found.view(np.int32), truth)[0, 1]) * len(found) ** 0.5
    what = f"Uniform to {abs(deviate):.1f} and uncorrelated to {abs(follows):.1f} standard deviations."
    return Measured(max(abs(deviate), abs(follows)) < _LIMIT, what)
