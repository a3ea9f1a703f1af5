"""Gradient of the masked multi-task loss with respect to the logits, written down instead of traced."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from common.model.layout import Layout
from common.ordinal import answers


@dataclass(frozen=True)
class OutputGradient:
    """d/dlogits of sum over rows of weight x sum over tasks of the task's loss, as `MultiTaskLoss` defines them.

    It is weight x (sigmoid - answer) in each column of a binary or ordinal task, weight x (softmax - one-hot) of a
    multiclass one, and weight x (difference, clipped to plus or minus 1) of a regression with standardised labels.
    label_mean, label_std: (T,).
    """

    layout: Layout
    label_mean: Tensor
    label_std: Tensor

    @cached_property
    def _parts(self) -> list[tuple[str, slice]]:
        """Runs of output columns that can be treated together: (kind of task, columns)."""
        parts: list[tuple[str, slice]] = []
        stop = 0
        for task in self.layout.plan.tasks:
            first, stop = stop, stop + task.outputs
            kind = "binary" if task.two_sided else task.kind
            if parts and parts[-1][0] == kind != "multiclass":
                first = parts.pop()[1].start
            parts.append((kind, slice(first, stop)))
        return parts

    def targets(self, labels: Tensor, weights: Tensor) -> Tensor:
        """(n, 2 outputs): what each output should be, then each output's weight, 0 where unlabelled.

        labels: (n, T), NaN where unlabelled. weights: (n,) of the rows.
        """
        weight = torch.where(labels.isnan(), 0.0, weights[:, None])
        known = labels.nan_to_num(0.0)
        aims = []
        for index, task in enumerate(self.layout.plan.tasks):
            column = known[:, index]
            if task.kind == "multiclass":
                aims.append(functional.one_hot(column.long(), task.outputs).to(labels.dtype))
            elif task.kind == "ordinal":
                aims.append(answers(labels[:, index], task.outputs))
            elif task.kind == "regression":
                aims.append(((column - self.label_mean[index]) / self.label_std[index])[:, None])
            else:
                aims.append(column[:, None])
        task_of_output = torch.from_numpy(self.layout.task_of_output).to(labels.device)
        aim = torch.cat(aims, dim=1)
        own = torch.where(aim.isnan(), 0.0, weight[:, task_of_output])
        return torch.cat([aim.nan_to_num(0.0), own], dim=1)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(n, outputs). logits: (n, outputs), which is overwritten. targets: (n, 2 outputs) as `targets` makes them."""
        aims, weights = torch.split(targets, logits.shape[1], dim=1)
        if len(self._parts) == 1 and self._parts[0][0] == "binary":
            return logits.sigmoid_().sub_(aims).mul_(weights)
        for kind, columns in self._parts:
            if kind == "binary":
                logits[:, columns].sigmoid_()
            elif kind == "multiclass":
                logits[:, columns] = logits[:, columns].softmax(dim=1)
        logits.sub_(aims)
        for kind, columns in self._parts:
            if kind == "regression":
                logits[:, columns].clamp_(-1.0, 1.0)
        return logits.mul_(weights)
