"""Rows that are unlike what the model was shown here: far away from the training rows, or with too many gaps.

Of a stay with hours, what was seen of it up to its last hour at which anything was: hours that are still to come are
no gaps. Its hours are measured by themselves, for among the many inputs of a row hardly any shift of theirs was found
(docs/benefit.md).

Distance: Mahalanobis among the network's inputs (clipped z-scores, piecewise code, one-hot codes, masks), with a
covariance drawn towards a multiple of the identity. On validation rows of heart and demo it found shifts that were made
far more often than the same distance in the encoder's last layer (Lee et al. 2018), of which docs/benefit.md has the
figures. Both limits are what 99 % of the training rows stay below, each measured against rows of other patients, so
that it is as far away as a new one.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.hourly import known_at_last
from common.model.code import Columns

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
FEWEST_ROWS = 50
_INSIDE = 0.99
_FOLDS = 10
_RIDGE = 0.05  # of the mean variance, added to each


@dataclass(frozen=True)
class Detector:
    """mean: (d,), precision: (d, d) of the inputs. farthest, most_missing: the limits; infinite: none.

    hours: the same of further inputs, (n, e), that follow the d; None where there are none.
    """

    mean: Float64
    precision: Float64
    farthest: float
    most_missing: float
    hours: "Detector | None" = None

    def distances(self, inputs: Float64) -> Float64:
        """(n,) squared Mahalanobis distances among the d alone. inputs: (n, d + e)."""
        gap = inputs[:, : len(self.mean)] - self.mean
        return np.asarray(np.einsum("nd,de,ne->n", gap, self.precision, gap))

    def unlikeness(self, inputs: Float64) -> Float64:
        """(n,) distance over its limit, the larger of the two; infinite where there is no limit."""
        if np.isinf(self.farthest):
            return np.full(len(inputs), np.inf)
        own = self.distances(inputs) / max(self.farthest, 1e-12)
        return own if self.hours is None else np.maximum(own, self.hours.unlikeness(inputs[:, len(self.mean) :]))

    def strange(self, inputs: Float64) -> NDArray[np.bool_]:
        """(n,) whether a row, or its hours, are unlike those of the training rows."""
        own = np.asarray(self.distances(inputs) > self.farthest)
        return own if self.hours is None else own | self.hours.strange(inputs[:, len(self.mean) :])

    def gaps(self, missing: Float64) -> NDArray[np.bool_]:
        """(n,) whether too much is missing. missing: (n,) share of a row's features."""
        return np.asarray(missing > self.most_missing + 1e-9)


def missing(features: Float32, hours: Float32) -> Float64:
    """(n,) share of a row's features that is missing; one of a sequence counts by the share of hours without it.

    features: (n, F), hours: (n, H, S), NaN where missing. Hours up to the last one at which anything was observed.
    """
    gaps = np.isnan(features).astype(np.float64)
    if hours.shape[2]:
        last = known_at_last(hours)[:, None]
        there = np.arange(hours.shape[1]) <= last
        gone = (np.isnan(hours) & there[:, :, None]).sum(axis=1) / (last + 1.0)
        gaps = np.concatenate([gaps, gone], axis=1)
    return np.asarray(gaps.mean(axis=1))


def looked_at(inputs: Float32, columns: Columns) -> Float64:
    """(n, inputs + S) what distances are measured among: the inputs of the row, then one number of each hourly feature.

    It is the mean of its z-scores over the hours at which it was observed, 0 where it never was. inputs: (n, width) as
    the network sees them.
    """
    row = inputs[:, : columns.inputs].astype(np.float64)
    if not columns.hourly:
        return row
    each = inputs[:, columns.inputs :].reshape(len(inputs), columns.hours, -1).astype(np.float64)
    z, masked = each[:, :, : columns.hourly], each[:, :, columns.hourly : 2 * columns.hourly]
    seen = np.maximum((1.0 - masked).sum(axis=1), 1.0)
    return np.concatenate([row, z.sum(axis=1) / seen], axis=1)


def fit_detector(inputs: Float64, missing: Float64, patients: NDArray[np.str_], *, hourly: int = 0) -> Detector:
    """From training rows: inputs (n, d + e), missing (n,) share of features, patients (n,). hourly: e.

    Too few rows give no limits.
    """
    if hourly:
        inputs, last = inputs[:, :-hourly], inputs[:, -hourly:]
        hours = fit_detector(last, np.zeros(len(last)), patients)
        return replace(fit_detector(inputs, missing, patients), hours=hours)
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
