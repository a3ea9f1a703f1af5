"""Sum of clipped per-patient gradients of a network with a sequence: each patient's gradient is worked out as it is.

The identity of per_patient.py holds for linear layers, which a patient passes a few times. A sequence passes its layers
at every hour, so `torch.func` differentiates the loss of each stay by itself (vmap of grad). A patient's gradient is
the sum over the patient's stays. Norms and sums are worked in float64.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.losses import MultiTaskLoss
from common.model.network import Network
from common.privacy.per_patient import Dropout

_MARGIN = 1.0 - 2.0**-20  # what rounding to float32 may add to a norm
_STAYS = 128  # at a time: their gradients are in memory together


@dataclass(frozen=True)
class StayGradients:
    """As `PatientGradients`, for plans with a sequence. label_mean, label_std: (T,)."""

    network: Network
    label_mean: Tensor
    label_std: Tensor
    max_grad_norm: float

    def tensors(self, vector: Tensor) -> dict[str, Tensor]:
        """Named views into `vector`, (D,), made once for many steps."""
        return self.network.tensors(vector.detach())

    def targets(self, labels: Tensor, weights: Tensor) -> Tensor:
        """(n, T + K H + 1): the labels, NaN where there is none, and the weight of each row."""
        return torch.cat([labels, weights[:, None]], dim=1)

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
        """Written over `into`: the sum of the patients' gradients, each clipped. Returns the norms before, (patients,).

        inputs: (n, width) and targets, as `targets` makes them: the rows of one patient after another. counts:
        (patients,) rows of each. A patient whose norm is not finite adds 0, with infinity as norm.
        """
        parameters = torch.cat([part.flatten() for part in layers.values()])
        total = torch.zeros(len(parameters), dtype=torch.float64, device=inputs.device)
        norms = [torch.zeros(0, dtype=torch.float64, device=inputs.device)]
        for patients, rows in _portions(counts):
            each = self._gradients(parameters, inputs[rows], targets[rows], dropout).double()
            own = torch.from_numpy(np.repeat(np.arange(len(counts[patients])), counts[patients])).to(inputs.device)
            gradients = total.new_zeros(len(counts[patients]), len(parameters)).index_add_(0, own, each)
            norm = torch.linalg.vector_norm(gradients, dim=1)
            broken = ~norm.isfinite()
            norm = norm.masked_fill(broken, torch.inf)
            scale = (self.max_grad_norm * _MARGIN / norm).clamp(max=1.0)
            total += (gradients.masked_fill(broken[:, None], 0.0) * scale[:, None]).sum(dim=0)
            norms.append(norm)
        for name, part in self.tensors(total).items():
            into[name].copy_(part)
        return torch.cat(norms)

    @cached_property
    def _gradient(self) -> Callable[..., Tensor]:
        """(rows, D) of parameters, inputs, targets and one mask per layer, each with a leading dimension of rows."""
        loss = MultiTaskLoss(self.network.layout, self.label_mean, self.label_std)
        tasks = len(self.network.layout.plan.tasks)

        def of_stay(parameters: Tensor, row: Tensor, target: Tensor, masks: list[Tensor]) -> Tensor:
            left = iter(masks)
            drop = (lambda *shape: next(left).view(shape)) if masks else None
            aims = loss.targets(target[None, :-1], target[-1].expand(tasks))
            return loss(self.network.logits(parameters, row[None], dropout=drop), aims)

        made: Callable[..., Tensor] = torch.func.vmap(torch.func.grad(of_stay), in_dims=(None, 0, 0, 0))
        return made

    def _gradients(self, parameters: Tensor, inputs: Tensor, targets: Tensor, dropout: Dropout | None) -> Tensor:
        model, groups = self.network.layout.plan.model, len(self.network.groups)
        widths = (*model.hidden, model.width) if dropout is not None and model.dropout > 0.0 else ()
        masks = [dropout(len(inputs) * groups, width).view(len(inputs), groups, width) for width in widths if dropout]
        with warnings.catch_warnings():  # some kernels are called stay by stay, which is slower and no less right
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return self._gradient(parameters, inputs, targets, masks)


def _portions(counts: NDArray[np.int64]) -> list[tuple[slice, slice]]:
    """Slices of patients and of their rows: whole patients, about `_STAYS` rows at a time."""
    portions, first, row = [], 0, 0
    for patient, end in enumerate(np.cumsum(counts).tolist()):
        if end - row >= _STAYS or patient + 1 == len(counts):
            portions.append((slice(first, patient + 1), slice(row, end)))
            first, row = patient + 1, end
    return portions
