"""How far a mean over seeds or draws can be trusted: the percentile bootstrap (Efron and Tibshirani 1993, ch. 13)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95


def summarise(differences: Sequence[float]) -> dict[str, Any]:
    """mean and n; with two or more values also sd, and the bounds `low` and `high` of the mean at LEVEL.

    differences: one per seed or draw. The same resamples are drawn at every call, so that equal differences have equal
    bounds. With few seeds the bounds are too narrow: at five, by about a tenth for want of n - 1 alone.
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


@lru_cache(maxsize=64)
def _draws(n: int) -> NDArray[np.int64]:
    """(RESAMPLES, n) indices of values, drawn with replacement."""
    return np.random.default_rng(20_240_229).integers(0, n, size=(RESAMPLES, n))
