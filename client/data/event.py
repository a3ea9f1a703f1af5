"""Labels of an hourly task that foresees an event: a comparison of one hourly column, within so many hours."""

import numpy as np

from common.plan.condition import Condition


def event_labels(values: np.ndarray, condition: Condition, *, within_h: int) -> np.ndarray:
    """(rows, hours) float64: at hour t whether `condition` holds at one of the hours t + 1 … t + within_h.

    values: (rows, hours), NaN where not observed. 1 if it holds at one of them, 0 if values were observed there and it
    holds at none. NaN if nothing was observed there: nobody knows; and NaN if it holds at t already: there is nothing
    left to foresee, and a model would be praised for what anybody can read.
    """
    observed = ~np.isnan(values)
    holds = observed & np.asarray(condition.holds(np.where(observed, values, 0.0)), dtype=bool)
    seen, happens = _ahead(observed, within_h), _ahead(holds, within_h)
    return np.where(seen & ~holds, happens.astype(np.float64), np.nan)


def _ahead(flags: np.ndarray, hours: int) -> np.ndarray:
    """(rows, hours) whether any of the next `hours` flags is set."""
    until = np.concatenate([np.zeros((len(flags), 1)), flags.cumsum(axis=1)], axis=1)  # before each hour
    last = flags.shape[1]
    here = np.arange(last)
    return np.asarray(until[:, np.minimum(here + hours, last - 1) + 1] - until[:, here + 1] > 0)
