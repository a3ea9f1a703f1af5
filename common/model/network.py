"""The multi-task network as a function of one flat vector: encoder, fused head bank, linear path."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from common.model.layout import Layout


@dataclass(frozen=True)
class Network:
    """logit = linear(x) + heads(encoder(x)), computed once for each group of tasks with the same exclusions.

    All outputs form one matrix product (a fused head bank); a group sees the features that its tasks exclude as
    missing. Parameters live in one flat tensor, so that an optimiser step, a clip and a sum are each one operation.
    """

    layout: Layout
    device: torch.device

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The different sets of excluded features, as sorted indices."""
        plan = self.layout.plan
        sets = {tuple(sorted(plan.feature_index[name] for name in task.exclude)) for task in plan.tasks}
        return tuple(sorted(sets))

    @cached_property
    def _group_of_output(self) -> Tensor:
        plan = self.layout.plan
        of_task = [
            self.groups.index(tuple(sorted(plan.feature_index[name] for name in task.exclude))) for task in plan.tasks
        ]
        return torch.tensor([of_task[task] for task in self.layout.task_of_output], device=self.device)

    @cached_property
    def _exclusions(self) -> tuple[Tensor, Tensor]:
        pairs = [self.layout.columns.exclude(group) for group in self.groups]
        keep, add = (torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*pairs, strict=True))
        return keep[:, None, :], add[:, None, :]

    @cached_property
    def _sizes(self) -> list[int]:
        return [segment.stop - segment.start for segment in self.layout.segments]

    def logits(self, parameters: Tensor, inputs: Tensor, *, dropout: torch.Generator | None = None) -> Tensor:
        """Outputs before any link function, (n, outputs).

        parameters: (D,) float32. inputs: (n, inputs) float32 as `encode` makes them.
        dropout: source of the dropout masks while training; None evaluates without dropout.
        """
        # One split has one cheap backward (a concatenation); slices would each write a gradient of length D.
        parts = torch.split(parameters, self._sizes)
        tensors = {s.name: part.view(s.shape) for s, part in zip(self.layout.segments, parts, strict=True)}
        wide = inputs
        if self.groups != ((),):
            keep, add = self._exclusions
            wide = (inputs[None] * keep + add).flatten(0, 1)  # (groups * n, inputs)
        hidden = wide
        rate = self.layout.plan.model.dropout
        for depth in range(len(self.layout.plan.model.hidden)):
            weight, bias = tensors[f"encoder.{depth}.weight"], tensors[f"encoder.{depth}.bias"]
            hidden = functional.linear(hidden, weight, bias).relu()
            if dropout is not None and rate > 0.0:
                kept = torch.empty_like(hidden).bernoulli_(1.0 - rate, generator=dropout)
                hidden = hidden * kept * (1.0 / (1.0 - rate))
        out = functional.linear(hidden, tensors["heads.weight"], tensors["heads.bias"])
        if "linear.weight" in tensors:
            out = torch.addmm(out, wide, tensors["linear.weight"].t())
        if len(self.groups) == 1:
            return out
        grouped = out.view(len(self.groups), inputs.shape[0], self.layout.outputs)
        return grouped[self._group_of_output, :, torch.arange(self.layout.outputs, device=self.device)].t()


def initial_parameters(layout: Layout, *, seed: int) -> NDArray[np.float32]:
    """The starting point, (D,): He-normal encoder (He et al. 2015), small heads, linear path and biases at zero."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x1217])))
    vector = np.zeros(layout.parameters, dtype=np.float32)
    for name, tensor in layout.split(vector).items():
        if name.endswith("weight") and not name.startswith("linear."):
            gain = 2.0 if name.startswith("encoder.") else 1.0
            tensor[:] = generator.normal(0.0, np.sqrt(gain / tensor.shape[1]), tensor.shape)
    return vector
