"""DP-SGD steps of others for the network of benchmarks/dp.py with one group: Opacus twice, and torch.func by hand."""

from collections.abc import Callable

import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

Step = Callable[[Tensor, Tensor], None]
"""(inputs, labels) of one sample: moves the module's parameters."""


class Module(nn.Module):
    """The network as separate modules; its parameters have the names of our segments."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.heads, self.linear = nn.Linear(hidden, outputs), nn.Linear(inputs, outputs, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.heads(self.encoder(inputs)) + self.linear(inputs)


class _RowLoss(nn.Module):
    """(n,) sum over tasks of the cross-entropy of labelled cells. reduction: what Opacus does with them."""

    reduction = "mean"

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        cells = functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(0.0), reduction="none")
        return torch.where(labels.isnan(), 0.0, cells).sum(dim=1)


def hooks(module: Module, *, batch: int, bound: float, noise: float, rate: float, momentum: float) -> Step:
    """Opacus, GradSampleModule: every patient's gradient is stored."""
    wrapped, loss = GradSampleModule(module), _RowLoss()
    sgd = torch.optim.SGD(module.parameters(), lr=rate, momentum=momentum)
    optimizer = DPOptimizer(sgd, noise_multiplier=noise, max_grad_norm=bound, expected_batch_size=batch)

    def step(inputs: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        loss(wrapped(inputs), labels).mean().backward()
        optimizer.step()

    return step


def ghost(module: Module, *, batch: int, bound: float, noise: float, rate: float, momentum: float) -> Step:
    """Opacus, ghost clipping: norms by inner products, then a second backward pass of the reweighted loss."""
    wrapped = GradSampleModuleFastGradientClipping(module, max_grad_norm=bound, use_ghost_clipping=True)
    sgd = torch.optim.SGD(module.parameters(), lr=rate, momentum=momentum)
    optimizer = DPOptimizerFastGradientClipping(
        sgd, noise_multiplier=noise, max_grad_norm=bound, expected_batch_size=batch
    )
    loss = DPLossFastGradientClipping(wrapped, optimizer, _RowLoss())

    def step(inputs: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        loss(wrapped(inputs), labels).backward()
        optimizer.step()

    return step


def by_vmap(module: Module, *, batch: int, bound: float, noise: float, rate: float, momentum: float) -> Step:
    """torch.func.vmap over patients, clipped and added up by hand."""
    optimizer = torch.optim.SGD(module.parameters(), lr=rate, momentum=momentum)
    row_loss = _RowLoss()

    def loss(parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        return row_loss(functional_call(module, parameters, (inputs[None],)), labels[None]).sum()

    each = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")

    def step(inputs: Tensor, labels: Tensor) -> None:
        parameters = dict(module.named_parameters())
        gradients = each({name: p.detach() for name, p in parameters.items()}, inputs, labels)
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
        scale = (bound / norms).clamp(max=1.0)
        for name, parameter in parameters.items():
            total = torch.einsum("n,n...->...", scale, gradients[name])
            parameter.grad = (total + torch.normal(0.0, noise * bound, total.shape)) / batch
        optimizer.step()

    return step


OTHERS = {"Opacus, hooks": hooks, "Opacus, ghost clipping": ghost, "torch.func.vmap": by_vmap}
