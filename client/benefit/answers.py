"""What a hospital's own outputs say of a row: a calibrated risk, its band, a set, or that nothing can be said."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.benefit.bands import Bands
from client.benefit.calibrate import Calibrator
from client.benefit.classes import told
from client.benefit.conformal import Conformal
from common.plan import Task

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
CANNOT_SAY = "cannot say"
UNLIKE = "unlike the patients that the model was trained on here"
GAPS = "too many values are missing"
TOO_FEW = "too few validation patients here to say how sure this is"
ALL_CLASSES = "every outcome is possible at 90 %"
WIDE = "the interval is as wide as what nine of ten patients here have"
REASONS = (UNLIKE, GAPS, TOO_FEW, ALL_CLASSES, WIDE)


@dataclass(frozen=True)
class TaskOutput:
    """What was decided for one task. model: the candidate. bands: binary and hourly tasks only."""

    model: str
    calibrator: Calibrator
    conformal: Conformal
    bands: Bands | None


@dataclass(frozen=True)
class Answers:
    """Of n rows. p: (n, classes), of a quantity (n, 0). value: (n,), of a quantity only. inside: (n, classes) sets.

    low, high: (n,) intervals of a quantity. reason: (n,) why nothing can be said, '' where something can.
    """

    p: Float64
    value: Float64
    inside: Bool
    low: Float64
    high: Float64
    reason: NDArray[np.str_]

    @property
    def said(self) -> Bool:
        return self.reason == ""


def answer(task: Task, output: TaskOutput, own: Float32, *, strange: Bool, gaps: Bool) -> Answers:
    """own: (n, task.outputs) scores of the chosen model. strange, gaps: (n,) what the detector says of each row."""
    conformal, rows = output.conformal, len(own)
    nothing = np.zeros((rows, 0))
    if task.kind == "regression":
        value = own[:, 0].astype(np.float64)
        low, high = conformal.interval(task, value)
        reason = np.where(np.full(rows, conformal.too_wide), WIDE, "")
        result = (nothing, value, nothing.astype(bool), low, high)
    else:
        p = output.calibrator.probabilities(task, own)
        inside = conformal.sets(task, p)
        reason = np.where(inside.all(axis=1), ALL_CLASSES, "")
        result = (p, np.zeros(0), inside, np.zeros(0), np.zeros(0))
    if not np.isfinite(conformal.quantile):
        reason = np.full(rows, TOO_FEW)
    reason = np.where(strange, UNLIKE, np.where(gaps, GAPS, reason))
    return Answers(*result, reason)


def errors(task: Task, answers: Answers, labels: Float32) -> Float64:
    """(n,) 1 where the most probable class is wrong, else 0; the absolute error of a quantity. labels: none NaN.

    Of an ordinal task how many classes the median one is away.
    """
    if task.kind == "regression":
        return np.asarray(np.abs(answers.value - labels))
    gap = np.abs(told(task, answers.p) - labels.astype(np.float64))
    return np.asarray(gap if task.kind == "ordinal" else (gap > 0.0).astype(np.float64))


def columns(task: Task, output: TaskOutput, answers: Answers, codes: list[str]) -> dict[str, np.ndarray]:
    """Further columns of a prediction: `TASK.band` (binary, hourly), `TASK.set`, `TASK.reason`, `TASK.model`.

    codes: names of the classes. A set is written as its classes with '|' between, an interval as 'low to high'.
    """
    result: dict[str, np.ndarray] = {}
    if output.bands is not None:
        result["band"] = np.where(answers.said, output.bands.names(answers.p[:, 1]), CANNOT_SAY)
    if task.kind == "regression":
        limits = zip(answers.low, answers.high, strict=True)
        listed = [f"{low:.4g} to {high:.4g}" for low, high in limits]
    else:
        listed = ["|".join(code for code, there in zip(codes, row, strict=True) if there) for row in answers.inside]
    result["set"] = np.array(listed, dtype=np.str_) if listed else np.zeros(0, dtype=np.str_)
    result["reason"] = answers.reason
    result["model"] = np.full(len(answers.reason), output.model)
    return {f"{task.name}.{name}": column for name, column in result.items()}
