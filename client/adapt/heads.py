"""Linear heads with an L2 penalty, exactly at the minimum: for a few labels there is no need to step towards it.

Minimises sum over rows of loss + penalty / 2 x |weights|^2; the intercept is free. The weights lie in the span of the
rows, so all is worked in as many coordinates as there are rows (Hastie, Tibshirani, Friedman 2009, section 18.3.5).
Binary tasks: Newton steps for all penalties at once; an ordinal task is a binary one per cut; several classes: L-BFGS.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from common.ordinal import answers
from common.plan import Task
from common.tally import sigmoid

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
_INTERCEPT = 1e-6  # a penalty that keeps it finite where the rows are of one class
_STEPS, _HALVINGS, _SMALL = 50, 20, 1e-9


@dataclass(frozen=True)
class Head:
    """weight: (d, outputs), bias: (outputs,), float64."""

    weight: Float64
    bias: Float64

    def __call__(self, inputs: Float64) -> Float64:
        """(n, outputs) logits of (n, d)."""
        return np.asarray(inputs @ self.weight + self.bias)


def fit_heads(task: Task, inputs: Float64, labels: Float32, penalties: Float64) -> list[Head]:
    """One head for each penalty. inputs: (n, d). labels: (n,) without gaps; those of a regression are standardised."""
    centre = inputs.mean(axis=0)
    left, scale, right = np.linalg.svd(inputs - centre, full_matrices=False)
    rows = left * scale  # (n, r)
    if task.kind == "regression":
        mean = float(labels.mean(dtype=np.float64))
        moved = (labels.astype(np.float64) - mean) @ rows
        found = [((moved / (scale**2 + penalty))[:, None], np.array([mean])) for penalty in penalties]
    elif task.kind == "multiclass":
        found = [_several(rows, labels, task.outputs, float(penalty)) for penalty in penalties]
    else:
        found = _cuts(rows, cells(task, labels), penalties)
    return [Head(right.T @ weight, bias - centre @ (right.T @ weight)) for weight, bias in found]


def cells(task: Task, labels: Float32) -> Float64:
    """(n, outputs) 0, 1, or NaN where an output has nothing to learn from the row; of binary and ordinal tasks."""
    if task.kind == "ordinal":
        return np.asarray(answers(torch.from_numpy(labels.astype(np.float64)), task.outputs).numpy())
    return labels.astype(np.float64)[:, None]


def row_losses(task: Task, logits: Float64, labels: Float32) -> Float64:
    """(n,) log-loss in nats, or half the squared error of a regression's standardised label."""
    if task.kind == "regression":
        return np.asarray(0.5 * (logits[:, 0] - labels) ** 2)
    if task.kind == "multiclass":
        own = np.take_along_axis(logits, labels.astype(np.int64)[:, None], axis=1)[:, 0]
        return np.asarray(np.logaddexp.reduce(logits, axis=1) - own)
    truth = cells(task, labels)
    losses = np.logaddexp(0.0, logits) - np.nan_to_num(truth) * logits
    return np.asarray(np.where(np.isnan(truth), 0.0, losses).sum(axis=1))


def _cuts(rows: Float64, truth: Float64, penalties: Float64) -> list[tuple[Float64, Float64]]:
    """(weights (r, outputs), biases (outputs,)) for each penalty, column by column."""
    columns = []
    for column in truth.T:
        known = ~np.isnan(column)
        columns.append(_logistic(rows[known], column[known], penalties))
    solved = np.stack(columns, axis=-1)  # (penalties, r + 1, outputs)
    return [(each[:-1], each[-1]) for each in solved]


def _logistic(rows: Float64, truth: Float64, penalties: Float64) -> Float64:
    """(penalties, r + 1) by Newton's method with halved steps; the last entry is the intercept."""
    design = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    ridge = np.repeat(penalties[:, None], design.shape[1], axis=1)
    ridge[:, -1] = _INTERCEPT
    diagonal = np.einsum("gr,rs->grs", ridge, np.eye(design.shape[1]))
    beta = np.zeros_like(ridge)

    def objective(at: Float64) -> Float64:
        logits = at @ design.T
        return np.asarray((np.logaddexp(0.0, logits) - truth * logits).sum(axis=1) + 0.5 * (ridge * at**2).sum(axis=1))

    value = objective(beta)
    for _ in range(_STEPS):
        probability = sigmoid(beta @ design.T)
        gradient = (probability - truth) @ design + ridge * beta
        if np.abs(gradient).max() < _SMALL * max(1, len(truth)):
            break
        curvature = probability * (1.0 - probability)
        hessian = np.matmul(design.T[None] * curvature[:, None, :], design[None]) + diagonal
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        length = np.ones(len(penalties))
        for _ in range(_HALVINGS):
            worse = objective(beta - length[:, None] * step) > value + 1e-12
            if not worse.any():
                break
            length[worse] *= 0.5
        beta = beta - length[:, None] * step
        value = objective(beta)
    return beta


def _several(rows: Float64, labels: Float32, classes: int, penalty: float) -> tuple[Float64, Float64]:
    """Softmax regression."""
    inputs, truth = torch.from_numpy(rows), torch.from_numpy(labels.astype(np.int64))
    weight = torch.zeros(rows.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=500, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        total = torch.nn.functional.cross_entropy(inputs @ weight + bias, truth, reduction="sum")
        total = total + 0.5 * penalty * weight.square().sum() + 0.5 * _INTERCEPT * bias.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    search.step(loss)
    return weight.detach().numpy(), bias.detach().numpy()
