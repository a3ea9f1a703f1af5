"""Exact metrics of one site's own rows; pooled metrics come from tallies, see tally.py."""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


Weights = NDArray[np.float64]


def auroc(scores: Scores, positive: NDArray[np.bool_], *, weights: Weights | None = None) -> float | None:
    """Probability that a positive scores above a negative, ties counting half; None with one class only.

    scores, positive: (n,). The rank-sum form of the statistic (Hanley and McNeil 1982).
    weights: (n,) above 0, how often each counts; 1 if not given.
    """
    if weights is not None:
        return _weighted_auroc(scores, positive, weights)
    hits, misses = int(positive.sum()), int((~positive).sum())
    if hits == 0 or misses == 0:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(counts) - (counts - 1) / 2.0
    return float((mid_rank[inverse][positive].sum() - hits * (hits + 1) / 2.0) / (hits * misses))


def average_precision(scores: Scores, positive: NDArray[np.bool_], *, weights: Weights | None = None) -> float | None:
    """Area under the precision-recall steps: sum of (R_k - R_{k-1}) P_k over scores; None without positives."""
    if not positive.any():
        return None
    return average_precision_of_bins(*_by_score(scores, positive, weights))


def _by_score(
    scores: Scores, positive: NDArray[np.bool_], weights: Weights | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the positives and of the negatives at each score, ascending."""
    values, inverse = np.unique(scores, return_inverse=True)
    each = np.ones(len(scores)) if weights is None else weights
    found, others = (np.bincount(inverse, weights=part * each, minlength=len(values)) for part in (positive, ~positive))
    return found.astype(np.float64), others.astype(np.float64)


def _weighted_auroc(scores: Scores, positive: NDArray[np.bool_], weights: Weights) -> float | None:
    if not positive.any() or positive.all():
        return None
    hits, misses = _by_score(scores, positive, weights)
    below = np.cumsum(misses) - misses
    return float((hits * (below + misses / 2.0)).sum() / (hits.sum() * misses.sum()))


def average_precision_of_bins(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """The same from counts per score bin, (bins,) in ascending order of score; rows in one bin are ties."""
    true_positives = np.cumsum(positives[::-1])
    flagged = true_positives + np.cumsum(negatives[::-1])
    precision = np.divide(true_positives, flagged, out=np.zeros_like(true_positives), where=flagged > 0)
    return float((positives[::-1] * precision).sum() / true_positives[-1])
