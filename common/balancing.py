"""How much each task has a say in a site's training, where the plan asks for more than the sum of the losses.

Uncertainty: A. Kendall, Y. Gal, R. Cipolla (2018), "Multi-task learning using uncertainty to weigh losses", with the
weights in closed form, as L. Kirchdorfer et al. (2024), "Analytical uncertainty-based loss weighting in multi-task
learning", solve for them. Gradients: at the encoder's output, not at its parameters (O. Sener, V. Koltun 2018,
"Multi-task learning as multi-objective optimization", section 3.3), so that the encoder has one backward pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import Refusal
from common.losses import LARGEST_TASK_WEIGHT, MultiTaskLoss, Targets
from common.model.network import Dropout, Network
from common.plan import Plan

# Of a forward pass over all of a site's rows; an encoder of hours needs memory for each.
_ROWS_AT_ONCE = 4096
_SMALLEST_LOSS = 1e-6


def require_extra(plan: Plan) -> None:
    """Raises Refusal `extra_missing` where `plan` needs torchjd and it is not installed."""
    if plan.training.combines_gradients:
        combination(plan.training.balancing, 0)


def combination(method: str, seed: int) -> Callable[[Tensor], Tensor]:
    """`common.aggregators.combination`; raises Refusal `extra_missing` where torchjd is not installed."""
    try:
        from common import aggregators
    except ImportError:
        raise Refusal(
            "extra_missing",
            f"training.balancing = {method!r} needs torchjd, which is not installed here: "
            "pip install 'consilium[balancing]'.",
        ) from None
    return aggregators.combination(method, seed)


def uncertainty_weights(
    network: Network, loss: MultiTaskLoss, parameters: Tensor, inputs: Tensor, labels: Tensor
) -> NDArray[np.float32]:
    """(T,) float32: 1 / (2 x the task's mean loss over its labelled rows), without dropout; 1 without such a row.

    It is exp(-s) where exp(-s) x loss + s / 2 is least in s, the logarithm of the task's variance (Kendall et al. 2018,
    eq. 10). parameters: (D,), those received, so that the weights are constants of a round and need no memory.
    inputs: (n, width). labels: (n, T + K H), NaN where unlabelled.
    """
    tasks = len(network.layout.plan.tasks)
    total, each = torch.zeros(tasks, dtype=torch.float64), torch.eye(tasks, device=network.device)
    with torch.no_grad():
        for part, known in zip(torch.split(inputs, _ROWS_AT_ONCE), torch.split(labels, _ROWS_AT_ONCE), strict=True):
            logits = network.logits(parameters, part)
            total += len(part) * torch.stack([loss(logits, loss.targets(known, one)) for one in each]).cpu().double()
    rows = (~labels[:, :tasks].isnan()).sum(dim=0).cpu().double()
    mean = (total / rows.clamp(min=1.0)).clamp(min=_SMALLEST_LOSS)
    return torch.where(rows > 0, 0.5 / mean, 1.0).float().numpy()


def bounded(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T,) `weights`, at most as large as a task's may be in plain training: a row's effect has the same bound."""
    return np.minimum(weights, np.float32(LARGEST_TASK_WEIGHT))


@dataclass(frozen=True)
class CombinedGradient:
    """The gradient of a batch with which heads learn their own task, and the encoder a combination of all tasks.

    combine: gives the weight of each task, (m,) float64, from the inner products of their gradients, (m, m) float64;
    all at 1 is plain training. Tasks that exclude different features see the same row through the same encoder: their
    gradients are compared row by row and unit by unit, as if at one output.
    """

    network: Network
    loss: MultiTaskLoss
    combine: Callable[[Tensor], Tensor]

    def __call__(self, theta: Tensor, inputs: Tensor, targets: Targets, *, dropout: Dropout | None) -> Tensor:
        """(D,) float32. theta: (D,). inputs: (n, width)."""
        segments, network = self.network.layout.segments, self.network
        first = next(number for number, segment in enumerate(segments) if segment.name == "heads.weight")
        encoder, heads = (
            part.detach().requires_grad_(True)
            for part in theta.tensor_split([segments[first].start])  # heads and linear path come last
        )
        tensors = network.tensors(encoder, slice(first)) | network.tensors(heads, slice(first, None))
        logits = network.logits_of(tensors, inputs, dropout=dropout)
        outputs = logits.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.loss(outputs, targets), outputs)
        weights = self._weights(tensors["heads.weight"].detach(), gradient)
        # Neither of the two goes through what the other one goes through, but for the heads' product.
        (of_heads,) = torch.autograd.grad(logits, heads, gradient, retain_graph=True)
        (of_encoder,) = torch.autograd.grad(logits, encoder, gradient * weights[self._task_of_column])
        return torch.cat([of_encoder, of_heads])

    def _weights(self, heads: Tensor, gradient: Tensor) -> Tensor:
        """(T,) float32; 1 for a task without a gradient in this batch, whose weight says nothing."""
        products = self.products(heads, gradient)
        there = products.diagonal() > 0.0
        weights = torch.ones(len(products), dtype=torch.float64)
        if there.any() and products.isfinite().all():  # what is not finite goes on to the check of the update
            weights[there] = self.combine(products[there][:, there])
        return weights.float().to(gradient.device)

    def products(self, heads: Tensor, gradient: Tensor) -> Tensor:
        """(T, T) float64, on the host: inner products of the tasks' gradients with respect to the encoders' outputs.

        heads: (outputs, units) weights. gradient: (n, outputs + K H) of the loss with respect to the logits. A column's
        gradient at the features is its gradient times its head's row, so that no backward pass is needed.
        """
        layout = self.network.layout
        plan, heads, gradient = layout.plan, heads.double(), gradient.double()
        if plan.sequence is None:
            columns = (gradient.t() @ gradient) * (heads @ heads.t())
        else:
            of_row, of_state = torch.split(heads, [plan.model.hidden[-1], plan.model.width], dim=1)
            at_hour = gradient.new_zeros(len(gradient), plan.hours, layout.outputs)
            hours = gradient[:, layout.outputs :].view(len(gradient), len(plan.hourly), plan.hours)
            at_hour[:, :, self._hourly] = hours.transpose(1, 2)
            at_hour[:, -1] += gradient[:, : layout.outputs]
            of_stay, each = at_hour.sum(dim=1), at_hour.flatten(0, 1)
            columns = (of_stay.t() @ of_stay) * (of_row @ of_row.t())
            columns = columns + (each.t() @ each) * (of_state @ of_state.t())
        return (self._members @ columns @ self._members.t()).cpu()

    @cached_property
    def _hourly(self) -> list[int]:
        layout = self.network.layout
        return np.flatnonzero(np.isin(layout.task_of_output, layout.plan.hourly)).tolist()

    @cached_property
    def _members(self) -> Tensor:
        """(T, outputs) 1 where a column is of a task."""
        task = torch.from_numpy(self.network.layout.task_of_output).to(self.network.device)
        return torch.nn.functional.one_hot(task, len(self.network.layout.plan.tasks)).t().double()

    @cached_property
    def _task_of_column(self) -> Tensor:
        """(outputs + K H,) index of the task behind each column of the logits."""
        layout = self.network.layout
        hours = np.repeat(np.array(layout.plan.hourly, dtype=np.int64), layout.plan.hours)
        return torch.from_numpy(np.concatenate([layout.task_of_output, hours])).to(self.network.device)
