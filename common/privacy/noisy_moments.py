"""Mean, standard deviation and quantiles from one noised histogram, with what bins and noise may do to them."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from common.histogram import quantiles
from common.privacy.bins import cleaned

Float64 = NDArray[np.float64]
_READABLE = 2.0  # standard deviations of a histogram's sum; below, the noise hides whether there is anything
_LEAST_SHARE = 1 / 64  # of 0s and of 1s: a standard deviation is never 0
_DRAWS = 200


@dataclass(frozen=True)
class Moments:
    """known: whether the counts rise out of the noise; if not, the range stands in: its middle and a quarter of it.

    mean_error, std_error: what the bins may do to each, and twice the standard deviation and twice the bias that noise
    has in a parametric bootstrap from a fixed seed (as in noisy_scores.py).
    limits, counts: (bins + 1,) and (bins,), made plausible.
    """

    mean: float
    std: float
    mean_error: float
    std_error: float
    known: bool
    limits: Float64
    counts: Float64

    def quantiles(self, at: Float64) -> Float64:
        """Values below which the fractions `at` lie, ascending; those of the uniform distribution if not known."""
        counts = self.counts if self.known else np.zeros(len(self.counts))
        return np.maximum.accumulate(quantiles(self.limits, counts, at))


def moments_of(counts: Float64, limits: Float64 | None, noise: float) -> Moments:
    """From noised counts, (bins,), between `limits`, (bins + 1,) from 0 to 1; None: counts of 0s and of 1s.

    noise: standard deviation in each count. Half a bin, on average over the counts, is what bins may do to the mean.
    """
    edges = np.array([0.0, 0.5, 1.0]) if limits is None else limits
    total, kept = float(counts.sum()), cleaned(counts)
    if total < 1.0 or total < _READABLE * noise * sqrt(len(counts)):
        return Moments(0.5, 0.5 if limits is None else 0.25, 0.5, 0.5, False, edges, kept)
    middle = np.array([0.0, 1.0]) if limits is None else (edges[1:] + edges[:-1]) / 2.0
    width = np.zeros(2) if limits is None else np.diff(edges)
    (mean,), (std,) = _read(kept[None], middle, width)
    random = np.random.default_rng(0)
    # What rises out of the noise: what is left in bins that may be empty already holds the bias once.
    sure = np.where(kept > _READABLE * noise, kept, 0.0)
    moved = _read(cleaned(sure + noise * random.standard_normal((_DRAWS, len(kept)))), middle, width)
    base = _read(sure[None], middle, width)
    of_mean, of_std = (
        float(2.0 * draws.std() + 2.0 * abs(draws.mean() - found)) for draws, (found,) in zip(moved, base, strict=True)
    )
    own = sqrt(float((kept * width**2).sum() / total))
    if limits is None and not _LEAST_SHARE <= mean <= 1.0 - _LEAST_SHARE:
        own = float(std)  # it was given the least share
    half = float((kept * width).sum() / total) / 2.0
    return Moments(float(mean), float(std), half + of_mean, own + of_std, True, edges, kept)


def _read(counts: Float64, middle: Float64, width: Float64) -> tuple[Float64, Float64]:
    """Mean and standard deviation of each row of (n, bins) counts that are not negative; 0s and 1s have no width.

    Values of a bin count as its middle. Of the variance that the bins then show a twelfth of their squared width is
    their own (Sheppard 1898), and at least so much is always left.
    """
    total = np.maximum(counts.sum(axis=1), 1.0)
    mean = (counts * middle).sum(axis=1) / total
    if not width.any():
        share = mean.clip(_LEAST_SHARE, 1.0 - _LEAST_SHARE)
        return mean, np.sqrt(share * (1.0 - share))
    seen = (counts * (middle - mean[:, None]) ** 2).sum(axis=1) / total
    own = (counts * width**2).sum(axis=1) / total / 12.0
    return mean, np.sqrt(np.maximum(seen - own, own))
