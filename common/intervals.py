"""How far a mean over draws, or over random splits of the same patients, can be trusted."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

RESAMPLES = 10_000
LEVEL = 0.95


def summarise(differences: Sequence[float]) -> dict[str, Any]:
    """mean and n; with two or more values also sd, and the bounds `low` and `high` of the mean at LEVEL.

    The percentile bootstrap (Efron and Tibshirani 1993, ch. 13). differences: one per independent draw. The same
    resamples are drawn at every call, so that equal differences have equal bounds. With few draws the bounds are too
    narrow: at five, by about a tenth for want of n - 1 alone.
    """
    values = np.asarray(differences, dtype=np.float64)
    result: dict[str, Any] = {"mean": float(values.mean()), "n": len(values)}
    if len(values) > 1:
        means = values[_draws(len(values))].mean(axis=1)
        low, high = np.quantile(means, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
        # Rounding in a mean of equal values must not move a bound past the mean.
        low, high = min(low, result["mean"]), max(high, result["mean"])
        result |= {"sd": float(values.std(ddof=1)), "low": float(low), "high": float(high)}
    return result


def over_splits(differences: Sequence[float], judged_per_trained: float) -> dict[str, Any]:
    """As `summarise`, of one value for each random split of the same patients into those to train on and to judge by.

    Such values share patients, so that their mean is less sure than that of independent ones: its variance is taken as
    (1 / n + judged_per_trained) sd^2, with n - 1 degrees of freedom of Student's t (Nadeau and Bengio 2003, "Inference
    for the generalization error", section 4). judged_per_trained: rows judged for each row trained on; 0 where all
    are judged on the same given rows, which then stand for themselves.
    """
    values = np.asarray(differences, dtype=np.float64)
    result: dict[str, Any] = {"mean": float(values.mean()), "n": len(values)}
    if len(values) > 1:
        sd = float(values.std(ddof=1))
        half = float(t.ppf((1.0 + LEVEL) / 2.0, len(values) - 1)) * sd * (1.0 / len(values) + judged_per_trained) ** 0.5
        result |= {"sd": sd, "low": result["mean"] - half, "high": result["mean"] + half}
    return result


@lru_cache(maxsize=64)
def _draws(n: int) -> NDArray[np.int64]:
    """(RESAMPLES, n) indices of values, drawn with replacement."""
    return np.random.default_rng(20_240_229).integers(0, n, size=(RESAMPLES, n))
