"""Masked multi-task losses: each task counts by a constant, whatever a batch happens to hold."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from common.model.layout import Layout
from common.ordinal import answers

# A task with a label on one row in fifty must not shout down the others at that row.
LARGEST_TASK_WEIGHT = 10.0


def task_weights(labelled: NDArray[np.int64]) -> NDArray[np.float32]:
    """(T,) float32: rows with any label over rows labelled for the task, at most 10; 0 for a task without labels.

    labelled: (n, T) bool of a site's training rows. A constant per site and task, so that a label-poor task counts
    as much as a label-rich one in expectation and one row has a bounded effect.
    """
    per_task = labelled.sum(axis=0)
    rows = int(labelled.any(axis=1).sum())
    weights = np.where(per_task > 0, rows / np.maximum(per_task, 1), 0.0)
    return np.minimum(weights, LARGEST_TASK_WEIGHT).astype(np.float32)


@dataclass(frozen=True)
class Targets:
    """Labels of n rows, made ready once for many batches; a weight of 0 marks an unlabelled cell.

    binary: (n, columns of binary and ordinal tasks), value: (n, regression tasks), both float32. level: (n, multiclass
    tasks) int64. hour: (n, K H) float32, K hourly tasks one after another. Each with its weights; a question that an
    ordinal task does not ask of a row has the weight 0.
    """

    binary: Tensor
    binary_weight: Tensor
    value: Tensor
    value_weight: Tensor
    level: Tensor
    level_weight: Tensor
    hour: Tensor
    hour_weight: Tensor

    def __getitem__(self, rows: slice) -> "Targets":
        return Targets(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class MultiTaskLoss:
    """Sum over tasks of weight x mean over rows of cross-entropy in nats, or Huber loss of the standardised label.

    The mean is over all rows of the batch, not over the labelled ones: a row has the same effect in whatever company.
    The loss of a row in an hourly task is the mean over its labelled hours: a long stay has no more of a say.
    label_mean, label_std: (T,) float32; regression targets are standardised with them.
    """

    layout: Layout
    label_mean: Tensor
    label_std: Tensor

    @cached_property
    def _tasks(self) -> dict[str, list[int]]:
        listed = [(i, "binary" if task.two_sided else task.kind) for i, task in enumerate(self.layout.plan.tasks)]
        return {kind: [i for i, own in listed if own == kind] for kind in ("binary", "regression", "multiclass")}

    @cached_property
    def _columns(self) -> dict[str, list[slice]]:
        stops = np.cumsum([task.outputs for task in self.layout.plan.tasks]).tolist()
        each = [slice(stop - t.outputs, stop) for stop, t in zip(stops, self.layout.plan.tasks, strict=True)]
        return {kind: [each[i] for i in tasks] for kind, tasks in self._tasks.items()}

    def targets(self, labels: Tensor, weights: Tensor) -> Targets:
        """labels: (n, T + K H) float32, NaN where unlabelled (`common.hourly`). weights: (T,) float32."""
        tasks = len(self.layout.plan.tasks)
        labels, hours = labels[:, :tasks], labels[:, tasks:]
        cell = torch.where(labels.isnan(), 0.0, weights)
        known = labels.nan_to_num(0.0)
        value, level = (self._tasks[kind] for kind in ("regression", "multiclass"))
        truth, weight = self._two_sided(labels, cell)
        standard = (known[:, value] - self.label_mean[value]) / self.label_std[value]
        each = (truth, weight, standard, cell[:, value], known[:, level].long(), cell[:, level])
        return Targets(*each, hours.nan_to_num(0.0), self._hour_weights(hours, weights))

    def _two_sided(self, labels: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """What each column of binary and ordinal tasks should answer, and its weight, both (n, those columns)."""
        tasks, plan = self._tasks["binary"], self.layout.plan
        if all(plan.tasks[i].kind == "binary" for i in tasks):
            return labels[:, tasks].nan_to_num(0.0), cell[:, tasks]
        columns = [
            answers(labels[:, i], plan.tasks[i].outputs) if plan.tasks[i].kind == "ordinal" else labels[:, i, None]
            for i in tasks
        ]
        truth = torch.cat(columns, dim=1)
        task_of_column = [i for i, column in zip(tasks, columns, strict=True) for _ in range(column.shape[1])]
        return truth.nan_to_num(0.0), torch.where(truth.isnan(), 0.0, cell[:, task_of_column])

    def _hour_weights(self, hours: Tensor, weights: Tensor) -> Tensor:
        """(n, K H) the weight of the hour's task over the row's labelled hours. hours: (n, K H) labels."""
        plan = self.layout.plan
        labelled = (~hours.isnan()).view(len(hours), len(plan.hourly), plan.hours).float()
        share = labelled / labelled.sum(dim=2, keepdim=True).clamp(min=1.0)
        return (share * weights[list(plan.hourly), None]).flatten(1)

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        """Scalar. logits: (n, outputs + K H). An unlabelled cell adds exactly 0 and has no gradient."""
        hours = logits[:, self.layout.outputs :]
        if hours.shape[1]:
            logits = logits[:, : self.layout.outputs]
        # All tasks of a kind in one call: with many small tasks the calls, not the arithmetic, take the time.
        total = logits.new_zeros(())
        if self._tasks["binary"]:
            total = total + functional.binary_cross_entropy_with_logits(
                self._scores(logits, "binary"), targets.binary, targets.binary_weight, reduction="sum"
            )
        if self._tasks["regression"]:
            huber = functional.huber_loss(self._scores(logits, "regression"), targets.value, reduction="none")
            total = total + (huber * targets.value_weight).sum()
        for index, columns in enumerate(self._columns["multiclass"]):
            loss = functional.cross_entropy(logits[:, columns], targets.level[:, index], reduction="none")
            total = total + (loss * targets.level_weight[:, index]).sum()
        if hours.shape[1]:
            total = total + functional.binary_cross_entropy_with_logits(
                hours, targets.hour, targets.hour_weight, reduction="sum"
            )
        return total / logits.shape[0]

    def _scores(self, logits: Tensor, kind: str) -> Tensor:
        columns = self._columns[kind]
        if sum(part.stop - part.start for part in columns) == logits.shape[1]:
            return logits
        return torch.cat([logits[:, part] for part in columns], dim=1)
