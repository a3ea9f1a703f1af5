"""Histograms that add up over sites, and quantiles read from them."""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def histogram(values: NDArray[np.float32], edges: NDArray[np.float32], weights: Float64 | None = None) -> Float64:
    """Counts, (bins,), of `values` between the inner `edges`, (bins - 1,) ascending; the end bins are open.

    A value equal to an edge falls into the bin above it. Comparison is in float32, as on every site.
    weights: what each value counts; 1 if not given.
    """
    bins = np.searchsorted(np.asarray(edges, dtype=np.float32), np.asarray(values, dtype=np.float32), side="right")
    return np.bincount(bins, weights, minlength=len(edges) + 1).astype(np.float64)


def quantiles(edges: Float64, counts: Float64, at: Float64) -> Float64:
    """Values below which the fractions `at` of the counts lie, linear within a bin.

    edges: (bins + 1,) ascending, the outer limits included. counts: (bins,), not negative. at: fractions in [0, 1].
    With no counts at all the quantiles of the uniform distribution over the limits come back.
    """
    total = counts.sum()
    if total <= 0:
        return np.asarray(np.interp(at, [0.0, 1.0], [edges[0], edges[-1]]))
    full = counts > 0
    # Only bins that hold something: an empty bin has no inside for a quantile to lie in.
    low, high = edges[:-1][full], edges[1:][full]
    below = np.concatenate([[0.0], np.cumsum(counts[full])]) / total
    index = np.clip(np.searchsorted(below, at, side="right") - 1, 0, len(low) - 1)
    inside = (at - below[index]) / (below[index + 1] - below[index])
    return np.asarray(low[index] + np.clip(inside, 0.0, 1.0) * (high[index] - low[index]))


def refine(edges: Float64, counts: Float64, *, bins: int) -> Float64:
    """Inner edges, (bins - 1,), of bins that hold about equal counts; `edges` as in `quantiles`."""
    return quantiles(edges, counts, np.arange(1, bins) / bins)


def close_ends(inner: Float64) -> Float64:
    """Limits for open end bins: the inner edges widened by a tenth of their span, at least 1, on each side."""
    margin = max(1.0, 0.1 * float(inner[-1] - inner[0]))
    return np.concatenate([[inner[0] - margin], inner, [inner[-1] + margin]])
