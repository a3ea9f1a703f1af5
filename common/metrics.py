"""Exact metrics of one site's own rows; pooled metrics come from tallies, see tally.py."""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


def auroc(scores: Scores, positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores above a negative, ties counting half; None with one class only.

    scores, positive: (n,). The rank-sum form of the statistic (Hanley and McNeil 1982).
    """
    hits, misses = int(positive.sum()), int((~positive).sum())
    if hits == 0 or misses == 0:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(counts) - (counts - 1) / 2.0
    return float((mid_rank[inverse][positive].sum() - hits * (hits + 1) / 2.0) / (hits * misses))


def average_precision(scores: Scores, positive: NDArray[np.bool_]) -> float | None:
    """Area under the precision-recall steps: sum of (R_k - R_{k-1}) P_k over scores; None without positives."""
    hits = int(positive.sum())
    if hits == 0:
        return None
    values, inverse = np.unique(scores, return_inverse=True)
    found = np.bincount(inverse, weights=positive, minlength=len(values)).astype(np.float64)
    rows = np.bincount(inverse, minlength=len(values)).astype(np.float64)
    return average_precision_of_bins(found, rows - found)


def average_precision_of_bins(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """The same from counts per score bin, (bins,) in ascending order of score; rows in one bin are ties."""
    true_positives = np.cumsum(positives[::-1])
    flagged = true_positives + np.cumsum(negatives[::-1])
    precision = np.divide(true_positives, flagged, out=np.zeros_like(true_positives), where=flagged > 0)
    return float((positives[::-1] * precision).sum() / true_positives[-1])
