"""Risk bands: low, medium or high against how common the outcome is at this hospital.

By odds, because they have no ceiling: low is less than half the odds of the hospital's own prevalence, high is more
than twice them. At a prevalence of 10 % that is below 5.3 % and above 18 %, at 50 % below 33 % and above 67 %, at 90 %
below 82 % and above 95 %: where most patients are ill, low is low for this hospital and no small risk.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FACTOR = 2.0


@dataclass(frozen=True)
class Bands:
    """low, high: probabilities below and above which a risk is called so."""

    low: float
    high: float

    def names(self, risk: NDArray[np.float64]) -> NDArray[np.str_]:
        """(n,) 'low', 'medium' or 'high'. risk: (n,) probabilities."""
        return np.where(risk < self.low, "low", np.where(risk > self.high, "high", "medium"))

    def in_words(self) -> str:
        """The bounds as a person reads them, because a band by itself is not a risk."""
        return f"low is a risk below {self.low:.1%}, high one above {self.high:.1%}"


def bands_of(labels: NDArray[np.float32]) -> Bands:
    """From the labels of training and validation rows; one of each kind is added, so that no share is 0.

    labels: (n,) 0 or 1, of an hourly task the share of a stay's labelled hours at which it is so.
    """
    share = (float(labels.sum()) + 1.0) / (len(labels) + 2.0)
    odds = share / (1.0 - share)
    low, high = odds / FACTOR, odds * FACTOR
    return Bands(low / (1.0 + low), high / (1.0 + high))
