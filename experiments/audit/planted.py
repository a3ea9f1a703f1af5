"""Mistakes in DP-SGD that are easily made and that no test of the model's quality shows; the audit must find each.

They wrap the sites' own trainer, for tests and the study alone. The accountant is told what the plan says.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.patients import PatientSet
from client.training.private_trainer import PrivateTrainer
from client.training.trainer import Float32
from common.privacy.per_patient import Dropout, PatientGradients


class HalfTheNoise(PrivateTrainer):
    """The noise of every step is half of what is accounted for."""

    def train(self, start: Float32, data: PatientSet, *, noise_multiplier: float, **rest: Any) -> Float32:
        return super().train(start, data, noise_multiplier=noise_multiplier / 2.0, **rest)


class FullBatches(PrivateTrainer):
    """Every patient is in every step; accounted for as a sample."""

    def train(self, start: Float32, data: PatientSet, *, sampling_probability: float, **rest: Any) -> Float32:
        return super().train(start, data, sampling_probability=1.0, **rest)


class FixedBatch(PrivateTrainer):
    """Every step takes the same patients, as many as a sample has on average; accounted for as fresh samples."""

    def train(self, start: Float32, data: PatientSet, *, sampling_probability: float, **rest: Any) -> Float32:
        first = max(1, round(len(data) * sampling_probability))
        rows = int(data.counts[:first].sum())
        batch = PatientSet(data.inputs[:rows], data.labels[:rows], data.starts[:first], data.counts[:first])
        return super().train(start, batch, sampling_probability=1.0, **rest)


class ClippedByTask(PrivateTrainer):
    """Each task's gradient is clipped to the norm that a patient's whole gradient should have."""

    @cached_property
    def _clip(self) -> Any:
        return _ByTask(super()._clip)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _ByTask:
    """`PatientGradients` once for each task, with the other tasks' weights at 0, added up."""

    clip: PatientGradients

    @property
    def max_grad_norm(self) -> float:
        return self.clip.max_grad_norm

    def targets(self, labels: Tensor, weights: Tensor) -> Tensor:
        return self.clip.targets(labels, weights)

    def tensors(self, vector: Tensor) -> dict[str, Tensor]:
        return self.clip.tensors(vector)

    def add_up(
        self,
        layers: dict[str, Tensor],
        into: dict[str, Tensor],
        inputs: Tensor,
        targets: Tensor,
        counts: NDArray[np.int64],
        *,
        dropout: Dropout | None = None,
    ) -> Tensor:
        total = {name: torch.zeros_like(part) for name, part in into.items()}
        task_of_output = self.clip.network.layout.task_of_output
        norms = torch.zeros(len(counts))
        for task in range(task_of_output.max() + 1):
            others = torch.from_numpy(np.flatnonzero(task_of_output != task) + len(task_of_output))
            alone = targets.index_fill(1, others, 0.0)
            norms = torch.hypot(norms, self.clip.add_up(layers, into, inputs, alone, counts, dropout=dropout))
            for name, part in into.items():
                total[name] += part
        for name, part in into.items():
            part.copy_(total[name])
        return norms


PLANTED = {
    "half the noise": HalfTheNoise,
    "full batches": FullBatches,
    "fixed batch": FixedBatch,
    "clipped by task": ClippedByTask,
}
