"""Histograms that stay readable under noise: how many bins, from public numbers only, and counts made plausible again.

A count is readable if the noise of the sum is small beside what an average bin holds: `bins_for` takes the largest
power of two, from 4 on, with which that is so many standard deviations of the noise: 4 for the survey, up to 128 bins.
For scores 16, so that it holds as well for a class of a quarter of the rows, and up to 32 bins: the noise of an AUROC
grows with the root of the bins, and what the bins themselves cost it falls with the square of their width.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from common.plan import Plan
from common.privacy.honest import honest_sites

Float64 = NDArray[np.float64]
FEWEST = 4
MOST_ROWS = 1e9  # of one site
GRID = 2.0**20  # steps per unit of the fixed point in which sums travel


def rows_of_patient(plan: Plan) -> int:
    """Most rows of one patient in any sum: 1 without `data.row`, where a table keeps one row of a patient."""
    return 1 if plan.data.row is None else plan.privacy.rows_per_patient


def noise_of_sum(plan: Plan, *, multiplier: float, sensitivity: float, sites: int) -> float:
    """Standard deviation of the noise in every entry of a sum over `sites` sites.

    Local noise: each site adds all of it. Shared: each adds its share of the variance (`honest_sites`).
    """
    honest = honest_sites(plan) if plan.privacy.noise == "shared" else 1
    return multiplier * sensitivity * sqrt(sites / honest)


def bins_for(rows: float, noise: float, *, readable: float, most: int) -> int:
    """The largest power of two from 4 to `most` with which an average bin holds `readable` standard deviations."""
    bins = most
    while bins > FEWEST and rows / bins < readable * noise:
        bins //= 2
    return bins


def cleaned(counts: Float64) -> Float64:
    """The nearest counts, in L2, that are not negative and have the same sum; (..., bins), all 0 for a sum below 0.

    The projection onto a simplex (Held, Wolfe, Crowder 1974): a constant is taken from every bin, and what falls below
    0 is 0. Noise in empty bins goes away, and the sum is not biased as it is where negative counts alone are cut off.
    """
    total = np.maximum(counts.sum(axis=-1, keepdims=True), 0.0)
    falling = -np.sort(-counts, axis=-1)
    cuts = (np.cumsum(falling, axis=-1) - total) / np.arange(1, counts.shape[-1] + 1)
    kept = np.maximum((falling > cuts).sum(axis=-1, keepdims=True), 1)
    return np.asarray(np.maximum(counts - np.take_along_axis(cuts, kept - 1, axis=-1), 0.0))


def on_grid(values: NDArray[np.floating], most: float) -> Float64:
    """`values` within plus or minus `most`, NaN as 0, each rounded to the grid of 2^-20 on which sums travel.

    Sums of such values are exact in float64, so that leaving out a row changes them by that row's values, to the bit.
    """
    bounded = np.clip(np.nan_to_num(values, nan=0.0, posinf=most, neginf=-most), -most, most)
    return np.asarray(np.rint(bounded.astype(np.float64) * GRID) / GRID)
