"""The multi-task network as a function of one flat vector: encoders, fused head bank, linear path."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from common.model.layout import Layout
from common.model.sequence import SEQUENCE_INPUT, states

Dropout = torch.Generator | Callable[..., Tensor]


@dataclass(frozen=True)
class Network:
    """logit = linear(x) + heads(encoder(x)), computed once for each group of tasks with the same exclusions.

    With a sequence the heads see [encoder(x), state]: the state at the last hour for a label of the stay, the state at
    hour t for the prediction at hour t. A stay that ends before the last hour has all its later hours missing.

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
    def _hourly(self) -> Tensor:
        """(K,) output columns of the hourly tasks."""
        return torch.from_numpy(np.flatnonzero(np.isin(self.layout.task_of_output, self.layout.plan.hourly))).to(
            self.device
        )

    @cached_property
    def _exclusions(self) -> tuple[Tensor, Tensor]:
        pairs = [self.layout.columns.exclude(group) for group in self.groups]
        keep, add = (torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*pairs, strict=True))
        return keep[:, None, :], add[:, None, :]

    @cached_property
    def _sizes(self) -> list[int]:
        return [segment.stop - segment.start for segment in self.layout.segments]

    def tensors(self, vector: Tensor, which: slice = slice(None)) -> dict[str, Tensor]:
        """Named views into `vector`: the segments `which`, one after another; all of them, (D,), by default."""
        # One split has one cheap backward (a concatenation); slices would each write a gradient of length D.
        parts = torch.split(vector, self._sizes[which])
        return {s.name: part.view(s.shape) for s, part in zip(self.layout.segments[which], parts, strict=True)}

    def logits(self, parameters: Tensor, inputs: Tensor, *, dropout: Dropout | None = None) -> Tensor:
        """Outputs before any link function, (n, outputs); with K hourly tasks (n, outputs + K H), see `common.hourly`.

        parameters: (D,) float32. inputs: (n, width) float32 as `encode_stays` makes them.
        dropout: source of the dropout masks while training, or a function of their shape that gives them; None
        evaluates without dropout.
        """
        return self.logits_of(self.tensors(parameters), inputs, dropout=dropout)

    def logits_of(self, tensors: dict[str, Tensor], inputs: Tensor, *, dropout: Dropout | None = None) -> Tensor:
        """`logits`, of parameters that are split already."""
        wide = inputs
        if self.groups != ((),):
            keep, add = self._exclusions
            wide = (inputs[None] * keep + add).flatten(0, 1)  # (groups * n, width)
        plan, columns = self.layout.plan, self.layout.columns
        row = wide if plan.sequence is None else wide[:, : columns.inputs]
        hidden = row
        for depth in range(len(plan.model.hidden)):
            weight, bias = tensors[f"encoder.{depth}.weight"], tensors[f"encoder.{depth}.bias"]
            hidden = self._drop(functional.linear(hidden, weight, bias).relu(), hidden.shape[:1], dropout)
        if plan.sequence is None:
            out = functional.linear(hidden, tensors["heads.weight"], tensors["heads.bias"])
            if "linear.weight" in tensors:
                out = torch.addmm(out, row, tensors["linear.weight"].t())
            return self._of_groups(out, self._group_of_output)
        of_row, of_state = torch.split(tensors["heads.weight"], [hidden.shape[1], plan.model.width], dim=1)
        out = functional.linear(hidden, of_row, tensors["heads.bias"])
        if "linear.weight" in tensors:
            out = torch.addmm(out, row, tensors["linear.weight"].t())
        hours = wide[:, columns.inputs :].reshape(len(wide), plan.hours, len(columns.feature_of_hour))
        state = states(tensors, hours, plan.model)
        state = self._drop(state, (len(wide), 1), dropout)
        last = self._of_groups(torch.addmm(out, state[:, -1], of_state.t()), self._group_of_output)
        if not plan.hourly:
            return last
        each = functional.linear(state, of_state[self._hourly]) + out[:, None, self._hourly]  # (groups * n, H, K)
        own = self._of_groups(each.transpose(1, 2), self._group_of_output[self._hourly])
        return torch.cat([last, own.flatten(1)], dim=1)

    def _drop(self, hidden: Tensor, rows: tuple[int, ...], dropout: Dropout | None) -> Tensor:
        """`hidden` with dropout. rows: its leading dimensions, 1 for one whose entries share a mask (the hours)."""
        rate = self.layout.plan.model.dropout
        if dropout is None or rate <= 0.0:
            return hidden
        if not isinstance(dropout, torch.Generator):
            return hidden * dropout(*rows, hidden.shape[-1])
        kept = hidden.new_empty((*rows, hidden.shape[-1])).bernoulli_(1.0 - rate, generator=dropout)
        return hidden * kept * (1.0 / (1.0 - rate))

    def _of_groups(self, out: Tensor, group: Tensor) -> Tensor:
        """(n, columns, …) from (groups * n, columns, …): of each column what its own group of tasks sees."""
        if len(self.groups) == 1:
            return out
        grouped = out.view(len(self.groups), -1, *out.shape[1:])
        return grouped[group, :, torch.arange(out.shape[1], device=self.device)].transpose(0, 1)


def initial_parameters(layout: Layout, *, seed: int) -> NDArray[np.float32]:
    """The starting point, (D,): He-normal encoders (He et al. 2015), small heads, linear path and biases at zero.

    An LSTM begins by remembering (Gers, Schmidhuber, Cummins 2000): else what happened early is soon forgotten.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x1217])))
    vector = np.zeros(layout.parameters, dtype=np.float32)
    for name, tensor in layout.split(vector).items():
        if name.endswith("weight") and not name.startswith("linear."):
            gain = 2.0 if name.startswith("encoder.") or name == SEQUENCE_INPUT else 1.0
            inside = int(np.prod(tensor.shape[1:]))
            tensor[:] = generator.normal(0.0, np.sqrt(gain / inside), tensor.shape)
        elif layout.plan.model.encoder == "lstm" and name in _gates(layout):
            gate = len(tensor) // 4
            tensor[gate : 2 * gate] = 1.0  # the second of the four is the forget gate
    return vector


def _gates(layout: Layout) -> tuple[str, ...]:
    return tuple(f"sequence.{layer}.input.bias" for layer in range(layout.plan.model.layers))
