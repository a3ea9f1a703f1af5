"""Split-conformal sets: of ten patients, the outcome of nine lies in the set, whatever the model is worth.

(Vovk, Gammerman, Shafer 2005; for classes the scores of `strangeness`, for a quantity the absolute residual.) One row
of each patient counts, because rows of one patient are not exchangeable with those of others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from client.benefit.calibrate import Calibrator
from client.benefit.classes import strangeness, told
from client.patients import first_rows
from common.plan import Task

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
LEVEL = 0.9


@dataclass(frozen=True)
class Conformal:
    """quantile: largest score that is still in a set; infinite where the patients are too few. patients: it is from.

    spread: of a quantity's labels, from the 5 % to the 95 % quantile; an interval as wide as that says nothing.
    """

    quantile: float
    patients: int
    spread: float = 0.0

    def sets(self, task: Task, p: Float64) -> Bool:
        """(n, classes) which classes are in each set; the one that is told always is, so that none is empty.

        Those of an ordinal task are neighbours.
        """
        inside = strangeness(task, p) <= self.quantile
        inside[np.arange(len(p)), told(task, p)] = True
        return np.asarray(inside)

    def interval(self, task: Task, values: Float64) -> tuple[Float64, Float64]:
        """(low, high), each (n,), in the task's unit and inside its plausible range."""
        least, most = task.range or (-np.inf, np.inf)
        return np.clip(values - self.quantile, least, most), np.clip(values + self.quantile, least, most)

    @property
    def too_wide(self) -> bool:
        """Whether a quantity's interval is as wide as what nine of ten patients here have anyway."""
        return 2.0 * self.quantile >= self.spread


def fit_conformal(
    task: Task, calibrator: Calibrator, own: Float32, labels: Float32, patients: NDArray[np.str_]
) -> Conformal:
    """From validation rows. own: (n, task.outputs) scores. labels: (n,), none NaN. patients: (n,) whose row it is."""
    kept = first_rows(np.arange(len(labels)), patients, most=1)
    own, labels = own[kept], labels[kept]
    if task.kind == "regression":
        score = np.abs(own[:, 0].astype(np.float64) - labels)
        low, high = np.quantile(labels.astype(np.float64), [0.05, 0.95]) if len(labels) else (0.0, 0.0)
        return Conformal(finite_quantile(score), len(labels), float(high - low))
    strange = strangeness(task, calibrator.probabilities(task, own))
    return Conformal(finite_quantile(strange[np.arange(len(labels)), labels.astype(np.int64)]), len(labels))


def finite_quantile(scores: Float64, level: float = LEVEL) -> float:
    """The ceil((n + 1) level)-th smallest of n scores; infinite where n is too small to have one."""
    place = int(np.ceil((len(scores) + 1) * level - 1e-9))
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else float("inf")


def binomial_interval(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934); (0, 1) without a trial."""
    tail = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(beta.ppf(1.0 - tail, hits + 1, trials - hits))
    return low, high


def coverage(
    task: Task,
    conformal: Conformal,
    calibrator: Calibrator,
    own: Float32,
    labels: Float32,
    patients: NDArray[np.str_],
) -> dict[str, float]:
    """`covered` of `patients` with its `low` and `high`, and the mean `size` of the sets, on one test row of each.

    size: classes in a set, or the mean width of an interval in the task's unit. Of classes also `covered_before`: by
    the fewest classes that the uncalibrated probabilities give LEVEL together.
    """
    kept = first_rows(np.arange(len(labels)), patients, most=1)
    own, labels = own[kept], labels[kept]
    if not len(labels):
        return {"patients": 0}
    before: dict[str, float] = {}
    if task.kind == "regression":
        low, high = conformal.interval(task, own[:, 0].astype(np.float64))
        inside, size = (low <= labels) & (labels <= high), high - low
    else:
        each, truth = np.arange(len(labels)), labels.astype(np.int64)
        sets = conformal.sets(task, calibrator.probabilities(task, own))
        inside, size = sets[each, truth], sets.sum(axis=1)
        before["covered_before"] = float(_believed(Calibrator().probabilities(task, own))[each, truth].mean())
    hits = int(inside.sum())
    least, most = binomial_interval(hits, len(labels))
    share = hits / len(labels)
    return {"patients": len(labels), "covered": share, "low": least, "high": most, "size": float(size.mean())} | before


def _believed(p: Float64) -> Bool:
    """(n, classes) the fewest classes that have LEVEL of the probability, (n, classes), together."""
    order = np.argsort(-p, axis=1, kind="stable")
    ordered = np.take_along_axis(p, order, axis=1)
    inside = np.zeros(p.shape, dtype=bool)
    np.put_along_axis(inside, order, ordered.cumsum(axis=1) - ordered < LEVEL, axis=1)
    return inside
