"""Scores: what the network says, in the terms in which it is judged. One column per output.

Binary tasks and each class of a multiclass task: log-odds. Ordinal tasks: log-odds to lie beyond each class but the
last. Regression: the predicted value in the task's unit.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.metrics import auroc, average_precision
from common.model.code import Normaliser
from common.ordinal import beyond, level, level_metrics, level_sums
from common.plan import Plan, Task
from common.tally import sigmoid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
_SMALLEST_PROBABILITY = 1e-6


def task_columns(plan: Plan) -> list[slice]:
    """The output columns of each task."""
    stops = np.cumsum([task.outputs for task in plan.tasks]).tolist()
    return [slice(stop - task.outputs, stop) for task, stop in zip(plan.tasks, stops, strict=True)]


def scores_of_logits(logits: Tensor, normaliser: Normaliser, plan: Plan) -> Float32:
    """(n, outputs) float32 on the CPU from the network's raw outputs."""
    result = logits.detach().to("cpu", torch.float32).numpy().copy()
    for index, (task, columns) in enumerate(zip(plan.tasks, task_columns(plan), strict=True)):
        if task.kind == "multiclass":
            result[:, columns] = _log_odds(torch.softmax(logits[:, columns].detach().cpu().double(), dim=1).numpy())
        elif task.kind == "ordinal":
            largest = np.log(1.0 / _SMALLEST_PROBABILITY)
            result[:, columns] = beyond(logits[:, columns].detach().cpu()).clamp(-largest, largest).numpy()
        elif task.kind == "regression":
            low, high = task.range or (-np.inf, np.inf)
            value = normaliser.label_mean[index] + result[:, columns] * normaliser.label_std[index]
            result[:, columns] = np.clip(value, low, high)
    return result


def scores_of_oracle(risks: Float32, plan: Plan) -> Float32:
    """The same from true risks, (n, outputs): probabilities, or the true mean of a regression label."""
    result = risks.copy()
    for task, columns in zip(plan.tasks, task_columns(plan), strict=True):
        if task.kind != "regression":
            result[:, columns] = _log_odds(risks[:, columns].astype(np.float64))
    return result


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(probability, _SMALLEST_PROBABILITY, 1.0 - _SMALLEST_PROBABILITY)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def exact_metrics(scores: Float32, labels: Float32, task: Task, *, weights: Float64 | None = None) -> dict[str, Any]:
    """Metrics of one task over one site's own rows: n; auroc, auprc, brier, accuracy, kappa, mae, rmse as they apply.

    scores: (n, task.outputs). labels: (n,) float32, NaN where unlabelled. Multiclass AUROC and AUPRC are means over the
    classes that are both present and absent among the rows (one against the rest), ordinal ones over the cuts that
    have rows on both sides (beyond against not).
    weights: (n,) of the hours of an hourly task, see `common.hourly`; n and positives then count stays.
    """
    known = ~np.isnan(labels)
    scores, labels = scores[known], labels[known]
    if weights is not None:
        return _of_hours(scores[:, 0], labels == 1.0, weights[known])
    result: dict[str, Any] = {"n": len(labels)}
    if len(labels) == 0:
        return result
    if task.kind == "regression":
        error = np.abs(scores[:, 0].astype(np.float64) - labels)
        return result | {"mae": float(error.mean()), "rmse": float(np.sqrt((error**2).mean()))}
    probability = sigmoid(scores)
    if task.kind == "binary":
        truth = (labels == 1.0)[:, None]
        result["positives"] = int(truth.sum())
        result["accuracy"] = float(((scores > 0) == truth).mean())
    elif task.kind == "ordinal":
        truth = labels[:, None] > np.arange(task.outputs)
        sums = level_sums(level(scores), labels.astype(np.int64), task.outputs)
        result |= level_metrics(sums, rows=len(labels), cuts=task.outputs)
    else:
        truth = labels[:, None] == np.arange(task.outputs)
        result["accuracy"] = float((scores.argmax(axis=1) == labels).mean())
    result["brier"] = float(((probability - truth) ** 2).sum(axis=1).mean())
    both = [k for k in range(truth.shape[1]) if 0 < truth[:, k].sum() < len(truth)]
    if both:
        areas = [auroc(scores[:, k], truth[:, k]) for k in both]
        precisions = [average_precision(scores[:, k], truth[:, k]) for k in both]
        result |= {"auroc": float(np.mean(np.array(areas))), "auprc": float(np.mean(np.array(precisions)))}
    return result


def _of_hours(scores: Float32, truth: NDArray[np.bool_], weights: Float64) -> dict[str, Any]:
    """What `exact_metrics` tells of hours. scores, truth, weights: (hours,)."""
    total = float(weights.sum())
    result: dict[str, Any] = {"n": round(total)}
    if total == 0.0:
        return result
    result |= {"positives": round(float(weights[truth].sum())), "hours": len(scores)}
    result["accuracy"] = float((weights * ((scores > 0) == truth)).sum() / total)
    result["brier"] = float((weights * (sigmoid(scores) - truth) ** 2).sum() / total)
    area = auroc(scores, truth, weights=weights)
    precision = average_precision(scores, truth, weights=weights)
    return result if area is None else result | {"auroc": area, "auprc": precision}
