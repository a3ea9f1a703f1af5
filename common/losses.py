"""Masked multi-task losses: each task counts by a constant, whatever a batch happens to hold."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from common.model.layout import Layout

# A task with a label on one row in fifty must not shout down the others at that row.
_LARGEST_TASK_WEIGHT = 10.0


def task_weights(labelled: NDArray[np.int64]) -> NDArray[np.float32]:
    """(T,) float32: rows with any label over rows labelled for the task, at most 10; 0 for a task without labels.

    labelled: (n, T) bool of a site's training rows. A constant per site and task, so that a label-poor task counts
    as much as a label-rich one in expectation and one row has a bounded effect.
    """
    per_task = labelled.sum(axis=0)
    rows = int(labelled.any(axis=1).sum())
    weights = np.where(per_task > 0, rows / np.maximum(per_task, 1), 0.0)
    return np.minimum(weights, _LARGEST_TASK_WEIGHT).astype(np.float32)


@dataclass(frozen=True)
class MultiTaskLoss:
    """Loss of each row and task; unlabelled cells are exactly 0 and have no gradient.

    label_mean, label_std: (T,) float32; regression targets are standardised with them.
    """

    layout: Layout
    label_mean: Tensor
    label_std: Tensor

    @cached_property
    def _tasks(self) -> dict[str, list[int]]:
        kinds = [task.kind for task in self.layout.plan.tasks]
        return {kind: [i for i, found in enumerate(kinds) if found == kind] for kind in set(kinds)}

    @cached_property
    def _first_output(self) -> list[int]:
        outputs = [task.outputs for task in self.layout.plan.tasks]
        return [sum(outputs[:i]) for i in range(len(outputs))]

    def per_cell(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(n, T): cross-entropy in nats, or the Huber loss (delta 1) of the standardised label.

        logits: (n, outputs). labels: (n, T) float32, NaN where unlabelled.
        """
        known = ~labels.isnan()
        target = torch.where(known, labels, 0.0)
        loss = torch.zeros_like(target)
        # All binary tasks in one call: with many small tasks the calls, not the arithmetic, take the time.
        if binary := self._tasks.get("binary"):
            scores = logits[:, [self._first_output[i] for i in binary]]
            cross_entropy = functional.binary_cross_entropy_with_logits(scores, target[:, binary], reduction="none")
            loss = loss.index_copy(1, torch.tensor(binary, device=loss.device), cross_entropy)
        if regression := self._tasks.get("regression"):
            scores = logits[:, [self._first_output[i] for i in regression]]
            standard = (target[:, regression] - self.label_mean[regression]) / self.label_std[regression]
            huber = functional.huber_loss(scores, standard, reduction="none")
            loss = loss.index_copy(1, torch.tensor(regression, device=loss.device), huber)
        for index in self._tasks.get("multiclass", []):
            first = self._first_output[index]
            scores = logits[:, first : first + self.layout.plan.tasks[index].outputs]
            cross_entropy = functional.cross_entropy(scores, target[:, index].long(), reduction="none")
            loss = loss.index_copy(1, torch.tensor([index], device=loss.device), cross_entropy[:, None])
        return torch.where(known, loss, 0.0)

    def __call__(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Scalar: sum over tasks of weight x mean over the rows given (not over the labelled ones)."""
        return (self.per_cell(logits, labels) * weights).sum() / labels.shape[0]
