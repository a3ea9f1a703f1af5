"""Calibration: whether 30 % means three in ten here, and what sets it right.

Temperature (Guo et al. 2017) divides all log-odds by one number; Platt scaling (Platt 1999, with his smoothed targets)
also shifts them, which a hospital with another prevalence needs. Both keep the order of the patients. From few rows a
slope is drawn towards 1: its logarithm has a normal prior of standard deviation 0.5, without which 40 rows were seen to
triple all log-odds. What is fitted is used only if it is better on rows that it was not fitted on. A quantity keeps its
value; the scale of its residuals is found beside it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from common.ordinal import class_probabilities
from common.plan import Task
from common.tally import sigmoid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
FEWEST_ROWS, FEWEST_CASES = 20, 5  # validation rows, and rows of the rarer side, for a temperature or a scale
PLATT_ROWS, PLATT_CASES = 50, 10  # the same for the second number of Platt scaling
_WIDEST = 3.0  # a slope lies between exp(-3) and exp(3)
_PRIOR = 0.5  # standard deviation of the logarithm of a slope
_FOLDS = 5
_GROUPS, _ROWS_OF_GROUP, _DRAWS = 10, 10, 200


@dataclass(frozen=True)
class Calibrator:
    """Log-odds become slope x log-odds + offset. kind: 'platt', 'temperature', 'residuals' or 'none'.

    scale: root mean square of a quantity's residuals, 0 for other kinds. why: for 'none', the reason.
    """

    kind: str = "none"
    slope: float = 1.0
    offset: float = 0.0
    scale: float = 0.0
    why: str = ""

    def probabilities(self, task: Task, own: Float32) -> Float64:
        """(n, classes) that add up to 1; two classes, no and yes, for a binary or an hourly task.

        own: (n, task.outputs) scores (see common.scores). Not for a quantity.
        """
        wide = own.astype(np.float64)
        if task.yes_or_no:
            yes = sigmoid(self.slope * wide[:, 0] + self.offset)
            return np.stack([1.0 - yes, yes], axis=1)
        if task.kind == "ordinal":
            return class_probabilities(sigmoid(self.slope * wide))
        log_p = -self.slope * np.logaddexp(0.0, -wide)
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        return np.asarray(p / p.sum(axis=1, keepdims=True))


def calibrator_of(task: Task, own: Float32, labels: Float32, patients: NDArray[np.str_]) -> Calibrator:
    """`fit_calibrator` of all rows, if the same of four fifths of the patients lowers the loss of the others.

    By more than one standard error, over five such divisions; else kind 'none' with the reason. patients: (n,).
    """
    fitted = fit_calibrator(task, own, labels)
    if fitted.kind in ("none", "residuals"):
        return fitted
    _, owner = np.unique(patients, return_inverse=True)
    gains, level = np.zeros(len(labels)), labels.astype(np.int64)
    for fold in range(_FOLDS):
        apart = owner % _FOLDS == fold
        other = fit_calibrator(task, own[~apart], labels[~apart], kind=fitted.kind)
        p, q = (each.probabilities(task, own[apart]) for each in (other, Calibrator()))
        at = np.arange(int(apart.sum())), level[apart]
        gains[apart] = np.log(np.maximum(p[at], 1e-12)) - np.log(np.maximum(q[at], 1e-12))
    gain, of_patient = gains.mean(), np.bincount(owner, weights=gains - gains.mean())
    error = float(np.sqrt((of_patient**2).sum())) / len(gains)
    if gain > error:
        return fitted
    return Calibrator(
        why=f"{len(labels)} validation rows show no gain: {gain:+.3f} nats where one standard error is {error:.3f}"
    )


def fit_calibrator(task: Task, own: Float32, labels: Float32, *, kind: str | None = None) -> Calibrator:
    """From validation rows; kind 'none', with the reason, where they are too few.

    own: (n, task.outputs) scores. labels: (n,), none NaN. kind: 'platt' or 'temperature', whatever the rows suggest.
    """
    if kind is None:
        kind, why = _kind(task, labels)
        if kind == "none":
            return Calibrator(why=why)
    if kind == "residuals":
        residuals = own[:, 0].astype(np.float64) - labels
        return Calibrator("residuals", scale=float(np.sqrt((residuals**2).mean())))
    if kind == "platt":
        return _platt(own[:, 0].astype(np.float64), labels == 1.0)
    return _temperature(task, own, labels)


def _kind(task: Task, labels: Float32) -> tuple[str, str]:
    """What so many rows can be calibrated with, and why not."""
    rows = len(labels)
    if rows < FEWEST_ROWS:
        return "none", f"{rows} validation rows, at least {FEWEST_ROWS} are needed"
    if task.kind == "regression":
        return "residuals", ""
    rarer = rows - int(np.bincount(labels.astype(np.int64)).max())
    if rarer < FEWEST_CASES:
        return "none", f"{rarer} validation rows outside the largest class, at least {FEWEST_CASES} are needed"
    return ("platt" if task.yes_or_no and rows >= PLATT_ROWS and rarer >= PLATT_CASES else "temperature"), ""


def _temperature(task: Task, own: Float32, labels: Float32) -> Calibrator:
    level = labels.astype(np.int64)

    def loss(log_slope: float) -> float:
        p = Calibrator(slope=float(np.exp(log_slope))).probabilities(task, own)
        nats = -np.log(np.maximum(p[np.arange(len(level)), level], 1e-12)).sum()
        return float(nats + (log_slope / _PRIOR) ** 2 / 2.0)

    found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-4})
    return Calibrator("temperature", slope=float(np.exp(found.x)))


def _platt(z: Float64, positive: NDArray[np.bool_]) -> Calibrator:
    hits = int(positive.sum())
    target = np.where(positive, (hits + 1.0) / (hits + 2.0), 1.0 / (len(z) - hits + 2.0))

    def loss(x: Float64) -> tuple[float, Float64]:
        slope = float(np.exp(x[0]))  # a slope below 0 would turn the order round
        odds = slope * z + x[1]
        gap = sigmoid(odds) - target
        nats = (np.logaddexp(0.0, odds) - target * odds).sum() + (x[0] / _PRIOR) ** 2 / 2.0
        return float(nats), np.array([(gap * z).sum() * slope + x[0] / _PRIOR**2, gap.sum()])

    bounds = [(-_WIDEST, _WIDEST), (None, None)]
    log_slope, offset = minimize(loss, np.zeros(2), jac=True, bounds=bounds, method="L-BFGS-B").x
    return Calibrator("platt", slope=float(np.exp(log_slope)), offset=float(offset))


def calibration_error(p: Float64, labels: Float32, *, ordered: bool = False) -> dict[str, float]:
    """`ece`, `ece_if_perfect` and `brier` of probabilities (n, classes) against labels (n,), none NaN; n above 0.

    ece: mean absolute gap between predicted and observed share, in at most 10 groups of equal size and of at least 10
    rows (Naeini et al. 2015); of the yes of a binary task, else of the most probable class. ece_if_perfect: its mean if
    the outcomes followed these very probabilities; it is above 0, the further the fewer rows there are. ordered: brier
    is over the cuts between the classes, the ranked probability score, as everywhere for ordinal tasks.
    """
    rows, classes = p.shape
    level = labels.astype(np.int64)
    truth = level[:, None] == np.arange(classes)
    if classes == 2:
        predicted, hit, brier = p[:, 1], truth[:, 1], ((p[:, 1] - truth[:, 1]) ** 2).mean()
    else:
        predicted, hit, gaps = p.max(axis=1), p.argmax(axis=1) == level, p - truth
        brier = ((gaps.cumsum(axis=1) if ordered else gaps) ** 2).sum(axis=1).mean()
    order = np.argsort(predicted, kind="stable")
    groups = min(_GROUPS, max(1, rows // _ROWS_OF_GROUP))
    starts = np.array([part[0] for part in np.array_split(np.arange(rows), groups)])
    expected = np.add.reduceat(predicted[order], starts)

    def gap(hits: NDArray[np.bool_]) -> float:
        """hits: (draws, rows), in order."""
        found = np.add.reduceat(hits.astype(np.float64), starts, axis=1)
        return float(np.abs(found - expected).sum(axis=1).mean() / rows)

    drawn = np.random.default_rng(rows).random((_DRAWS, rows)) < predicted[order]
    return {"ece": gap(hit[order][None]), "ece_if_perfect": gap(drawn), "brier": float(brier)}
