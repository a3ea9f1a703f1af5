"""Ordered classes as a chain of yes-or-no questions: "beyond class k, if it got as far as k?", one output for each k.

The probability to be beyond k is the product of the answers up to k, and so never rises with k, whatever the weights:
the continuation-ratio model (Fienberg 1980, section 6.6), as a network's head CORN (Shi, Cao, Raschka 2021, "Deep
neural networks for rank-consistent ordinal regression based on conditional probabilities", section 3). A row of class
y is asked the questions up to y; the sum of their log-losses is the log-loss of its class.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def answers(labels: Tensor, cuts: int) -> Tensor:
    """(n, cuts) 1 for "beyond k", 0 for "no further than k", NaN for a question that the row is not asked.

    labels: (n,) index of the class, NaN where unlabelled. cuts: classes less one.
    """
    cut = torch.arange(cuts, device=labels.device)
    column = labels[:, None]
    return torch.where(column >= cut, (column > cut).to(labels.dtype), torch.nan)


def beyond(logits: Tensor) -> Tensor:
    """(n, cuts) log-odds, in float64, that the class lies beyond k; they fall from left to right. logits: (n, cuts)."""
    log_survival = torch.nn.functional.logsigmoid(logits.double()).cumsum(dim=1)
    # log(1 - exp(s)) without loss where s is near 0 or far below it.
    log_rest = torch.log(-torch.expm1(log_survival.clamp(max=-1e-300)))
    return log_survival - log_rest


def level(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """(n,) the median class: the number of cuts that are passed with a probability above one half.

    scores: (n, cuts) log-odds to be beyond k. It has the least expected distance to the true class.
    """
    return np.asarray((scores > 0.0).sum(axis=1), dtype=np.int64)


def class_probabilities(beyond_cut: Float64) -> Float64:
    """(n, cuts + 1) probability of each class from those to be beyond k, (n, cuts)."""
    ends = (np.ones((len(beyond_cut), 1)), beyond_cut, np.zeros((len(beyond_cut), 1)))
    return np.asarray(-np.diff(np.concatenate(ends, axis=1), axis=1))


def level_sums(found: NDArray[np.int64], truth: NDArray[np.int64], cuts: int) -> Float64:
    """(7,) what `level_metrics` needs, to be added up over sites; a row adds at most 1 to each.

    found, truth: (n,) classes. Rows that are right, sums of |difference| and its square, of found and its square, of
    truth and its square, in units of `cuts`.
    """
    a, b = found / cuts, truth / cuts
    sums = [(found == truth).sum(), np.abs(a - b).sum(), ((a - b) ** 2).sum()]
    return np.array([*sums, a.sum(), (a**2).sum(), b.sum(), (b**2).sum()], dtype=np.float64)


def level_metrics(sums: Float64, *, rows: float, cuts: int) -> dict[str, float]:
    """accuracy, mae (in classes) and kappa: with quadratic weights (Cohen 1968), absent where all is of one class.

    sums: (7,) as `level_sums` gives them, of `rows` rows.
    """
    if rows <= 0:
        return {}
    right, absolute, squared, found, found_squared, truth, truth_squared = (float(value) / rows for value in sums)
    result = {"accuracy": right, "mae": absolute * cuts}
    by_chance = found_squared + truth_squared - 2.0 * found * truth
    if by_chance > 1e-12:
        result["kappa"] = 1.0 - squared / by_chance
    return result
