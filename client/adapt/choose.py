"""What is tuned is tuned by cross-validation among the few labels themselves; no other label is looked at."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from client.adapt.heads import Float32, Float64, Head, fit_heads, row_losses
from common.plan import Task

Index = NDArray[np.int64]
T = TypeVar("T")
FOLDS, NETWORK_FOLDS = 5, 3  # a network takes long to fit
PENALTIES = np.array([0.03, 0.1, 0.3, 1.0, 3.0, 10.0])  # for inputs whose variances add up to 1


def best_of(candidates: Sequence[T], fold: Index, losses: Callable[[T, Index, Index], Float64]) -> T:
    """The candidate with the smallest mean loss over all rows, each judged by a fit without its fold.

    fold: (n,) of the rows. losses: (candidate, rows to fit, rows to judge), both indices below n, to (judged,) losses.
    Of equal ones the first is taken.
    """
    if len(candidates) == 1:
        return candidates[0]
    totals = np.zeros(len(candidates))
    for each in range(int(fold.max()) + 1):
        fit, judge = np.flatnonzero(fold != each), np.flatnonzero(fold == each)
        totals += [losses(candidate, fit, judge).sum() for candidate in candidates]
    return candidates[int(totals.argmin())]


def averaged_head(
    task: Task, inputs: Float64, scales: Sequence[Float64], labels: Float32, fold: Index
) -> tuple[Head, Float64]:
    """One head for `inputs`, (n, d), and the weights, (scales, penalties), with which its candidates enter it.

    A candidate is fitted to inputs x scale, (d,), with one penalty. It counts in proportion to exp(-log-loss), summed
    over all rows, each judged by a fit without its fold: with few labels many candidates count, with more labels the
    best (pseudo-BMA, Yao, Vehtari, Simpson, Gelman 2018, section 2.3). Linear heads have a linear mean.
    """
    losses = np.zeros((len(scales), len(PENALTIES)))
    for each in range(int(fold.max()) + 1):
        fit, judge = fold != each, fold == each
        for number, scale in enumerate(scales):
            scaled = inputs * scale
            heads = fit_heads(task, scaled[fit], labels[fit], PENALTIES)
            losses[number] += [row_losses(task, head(scaled[judge]), labels[judge]).sum() for head in heads]
    weights = np.exp(losses.min() - losses)
    weights /= weights.sum()
    mean = Head(np.zeros((inputs.shape[1], task.outputs)), np.zeros(task.outputs))
    for own, scale in zip(weights, scales, strict=True):
        for weight, head in zip(own, fit_heads(task, inputs * scale, labels, PENALTIES), strict=True):
            mean = Head(mean.weight + weight * scale[:, None] * head.weight, mean.bias + weight * head.bias)
    return mean, weights


def mean_penalty(weights: Float64) -> float:
    """The geometric mean of the penalties."""
    return float(np.exp(weights.sum(axis=0) @ np.log(PENALTIES)))
