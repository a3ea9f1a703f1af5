"""Where the hours of hourly tasks stand: behind the columns that every plan has, task after task.

labels: (n, T + K H). The first T are those of the stay; of an hourly task there, the share of its labelled hours at
which it is so, NaN where no hour is labelled. Then H columns for each of the K hourly tasks: 1, 0, or NaN.
scores: (n, outputs + K H). The first are those of the stay; of an hourly task there, that of the last hour.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.plan import Plan

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def label_columns(plan: Plan) -> int:
    """T + K H."""
    return len(plan.tasks) + len(plan.hourly) * plan.hours


def with_hours(labels: Float32, hours: Float32) -> Float32:
    """(n, T + K H) from labels of stays, (n, T), and of hours, (n, H, K)."""
    each = hours.transpose(0, 2, 1).reshape(len(labels), hours.shape[1] * hours.shape[2])
    return np.concatenate([labels, each], axis=1)


def known_at_last(hours: Float32) -> NDArray[np.int64]:
    """(n,) the last hour at which anything was observed, 0 where nothing ever was. hours: (n, H, S), NaN: not."""
    seen = np.where(np.isnan(hours).all(axis=2), 0, np.arange(hours.shape[1]))
    return np.asarray(seen.max(axis=1))


@dataclass(frozen=True)
class Judged:
    """The scores and labels of one task that are compared, m of them, and what each counts.

    scores: (m, task.outputs) float32. labels: (m,) float32. weights: (m,) float64 of hours, such that the labelled ones
    of a stay count as 1 together; None where each counts as 1.
    """

    scores: Float32
    labels: Float32
    weights: Float64 | None = None


def judged(plan: Plan, index: int, scores: Float32, labels: Float32) -> Judged:
    """Of the task `index`. scores: (n, outputs + K H), labels: (n, T + K H)."""
    first = sum(task.outputs for task in plan.tasks[:index])
    if not plan.tasks[index].hourly:
        known = ~np.isnan(labels[:, index])
        chosen = scores[known, first : first + plan.tasks[index].outputs]
        return Judged(chosen, labels[known, index])
    own = hour_labels(plan, index, labels)
    known = ~np.isnan(own)
    weights = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return Judged(hour_scores(plan, index, scores)[known][:, None], own[known], weights[known])


def hour_labels(plan: Plan, index: int, labels: Float32) -> Float32:
    """(n, H) of the hourly task `index`. labels: (n, T + K H)."""
    first = len(plan.tasks) + plan.hourly.index(index) * plan.hours
    return labels[:, first : first + plan.hours]


def hour_scores(plan: Plan, index: int, scores: Float32) -> Float32:
    """(n, H) of the hourly task `index`. scores: (n, outputs + K H)."""
    first = sum(task.outputs for task in plan.tasks) + plan.hourly.index(index) * plan.hours
    return scores[:, first : first + plan.hours]
