"""Rows that are unlike what the model was shown here: far away from the training rows, or with too many gaps.

Distance: Mahalanobis among the network's inputs (clipped z-scores, piecewise code, one-hot codes, masks), with a
covariance drawn towards a multiple of the identity. On validation rows of heart and demo it found shifts that were made
far more often than the same distance in the encoder's last layer (Lee et al. 2018), of which docs/benefit.md has the
figures. Both limits are what 99 % of the training rows stay below, each measured against rows of other patients, so
that it is as far away as a new one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
FEWEST_ROWS = 50
_INSIDE = 0.99
_FOLDS = 10
_RIDGE = 0.05  # of the mean variance, added to each


@dataclass(frozen=True)
class Detector:
    """mean: (d,), precision: (d, d) of the inputs. farthest, most_missing: the limits; infinite: none."""

    mean: Float64
    precision: Float64
    farthest: float
    most_missing: float

    def distances(self, inputs: Float64) -> Float64:
        """(n,) squared Mahalanobis distances. inputs: (n, d)."""
        gap = inputs - self.mean
        return np.asarray(np.einsum("nd,de,ne->n", gap, self.precision, gap))

    def strange(self, inputs: Float64) -> NDArray[np.bool_]:
        """(n,) whether a row is unlike the training rows."""
        return np.asarray(self.distances(inputs) > self.farthest)

    def gaps(self, missing: Float64) -> NDArray[np.bool_]:
        """(n,) whether too much is missing. missing: (n,) share of a row's features."""
        return np.asarray(missing > self.most_missing + 1e-9)


def missing(features: NDArray[np.float32]) -> Float64:
    """(n,) share of each row's features, (n, F), that is missing."""
    return np.asarray(np.isnan(features).mean(axis=1))


def fit_detector(inputs: Float64, missing: Float64, patients: NDArray[np.str_]) -> Detector:
    """From training rows: inputs (n, d), missing (n,) share of features, patients (n,). Too few rows give no limits."""
    if len(inputs) < FEWEST_ROWS:
        width = inputs.shape[1]
        return Detector(np.zeros(width), np.eye(width), float("inf"), float("inf"))
    _, owner = np.unique(patients, return_inverse=True)
    fold, found = owner % _FOLDS, np.zeros(len(inputs))
    for number in range(_FOLDS):
        apart = fold == number
        if apart.any() and not apart.all():
            found[apart] = Detector(*_moments(inputs[~apart]), np.inf, np.inf).distances(inputs[apart])
    return Detector(*_moments(inputs), _limit(found), _limit(missing))


def _moments(inputs: Float64) -> tuple[Float64, Float64]:
    mean = inputs.mean(axis=0)
    covariance = np.cov(inputs, rowvar=False, bias=True).reshape(len(mean), len(mean))
    level = max(float(np.trace(covariance)) / len(mean), 1e-12)
    return mean, np.linalg.inv(covariance + _RIDGE * level * np.eye(len(mean)))


def _limit(values: Float64) -> float:
    return float(np.quantile(values, _INSIDE, method="higher"))
