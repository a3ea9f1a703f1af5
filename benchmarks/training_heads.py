"""All heads as one matrix with one masked loss, against a Linear and a loss for each task.

Same parameters, same batch of 32 rows, same weights of labels, one missing label in twenty, binary tasks. Heads alone:
32 hidden units to all logits, loss, and the gradients of heads and hidden units, through our loss. Whole step: the
network on 80 features (480 inputs, 32 hidden units) with its linear path, dropout .3, loss, backward and momentum SGD;
ours on one flat tensor, the other with torch.optim.SGD on modules, a head and a linear path for each task. Seconds are
those of the processor. Below 1 is faster than separate heads; the aim is 1/3 at 4 tasks and 1/8 at 16.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import Ratio, compare
from client.training.trainer import Sgd, decay_of
from common.losses import MultiTaskLoss, Targets, task_weights
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan, plan_from_dict

TASKS, BATCH, STEPS, PAIRS = (4, 16, 64), 32, 40, 15
FEATURES, ROWS = 80, 2_048
RATE, MOMENTUM = 0.03, 0.9


def _plan(tasks: int, dropout: float, decay: float) -> Plan:
    content = {
        "federation": {"name": "bench"},
        "data": {"patient": "p"},
        "features": [{"name": f"x{i}", "range": [-10, 10]} for i in range(FEATURES)],
        "tasks": [{"name": f"t{i}", "label": f"y{i}"} for i in range(tasks)],
        "model": {"dropout": dropout},
        "training": {"l2_linear": decay, "l2_network": decay},
    }
    return plan_from_dict(content, source="bench")


class Separate(nn.Module):
    """The same network with modules of each task's own. Its parameters are those in `vector`, (D,)."""

    def __init__(self, layout: Layout, vector: np.ndarray) -> None:
        super().__init__()
        own = {name: torch.from_numpy(value.copy()) for name, value in layout.split(vector).items()}
        hidden, inputs = own["encoder.0.weight"].shape
        self.encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(layout.plan.model.dropout))
        self.heads = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(layout.outputs))
        self.linear = nn.ModuleList(nn.Linear(inputs, 1, bias=False) for _ in range(layout.outputs))
        pairs = [(self.encoder[0].weight, own["encoder.0.weight"]), (self.encoder[0].bias, own["encoder.0.bias"])]
        for task, (head, linear) in enumerate(zip(self.heads, self.linear, strict=True)):
            part = slice(task, task + 1)
            pairs += [(head.weight, own["heads.weight"][part]), (head.bias, own["heads.bias"][part])]
            pairs.append((linear.weight, own["linear.weight"][part]))
        with torch.no_grad():
            for parameter, value in pairs:
                parameter.copy_(value)

    def forward(self, inputs: Tensor) -> list[Tensor]:
        hidden = self.encoder(inputs)
        return [head(hidden) + linear(inputs) for head, linear in zip(self.heads, self.linear, strict=True)]


def separate_loss(outputs: list[Tensor], targets: Targets) -> Tensor:
    """Scalar: the sum of a masked loss per task, each of (n, 1) logits."""
    losses = [
        functional.binary_cross_entropy_with_logits(
            out[:, 0], targets.binary[:, task], targets.binary_weight[:, task], reduction="sum"
        )
        for task, out in enumerate(outputs)
    ]
    return torch.stack(losses).sum() / len(outputs[0])


@dataclass(frozen=True)
class Problem:
    """One batch and both networks. decay: L2 penalty, divided by ROWS."""

    tasks: int
    dropout: float = 0.3
    decay: float = 1.0

    @cached_property
    def layout(self) -> Layout:
        return Layout(_plan(self.tasks, self.dropout, self.decay))

    @cached_property
    def normaliser(self) -> Normaliser:
        plan = self.layout.plan
        made = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
        return replace(made, rows=ROWS)

    @cached_property
    def start(self) -> np.ndarray:
        return initial_parameters(self.layout, seed=0)

    @cached_property
    def inputs(self) -> Tensor:
        return torch.randn(BATCH, self.layout.columns.inputs, generator=torch.Generator().manual_seed(0))

    @cached_property
    def loss(self) -> MultiTaskLoss:
        own = self.normaliser
        return MultiTaskLoss(self.layout, torch.from_numpy(own.label_mean), torch.from_numpy(own.label_std))

    @cached_property
    def targets(self) -> Targets:
        random = torch.Generator().manual_seed(1)
        labels = torch.randint(0, 2, (BATCH, self.tasks), generator=random).float()
        labels[torch.rand(BATCH, self.tasks, generator=random) < 0.05] = torch.nan
        return self.loss.targets(labels, torch.from_numpy(task_weights((~labels.isnan()).numpy())))

    def fused(self) -> Callable[[], Tensor]:
        """A step of ours; returns the parameters, (D,)."""
        network = Network(self.layout, torch.device("cpu"))
        theta = torch.from_numpy(self.start.copy()).requires_grad_(True)
        step, decay, random = Sgd(RATE, MOMENTUM), decay_of(network, self.normaliser), torch.Generator().manual_seed(2)

        def one() -> Tensor:
            loss = self.loss(network.logits(theta, self.inputs, dropout=random), self.targets)
            (gradient,) = torch.autograd.grad(loss, theta)
            with torch.no_grad():
                step(theta, gradient, decay)
            return theta

        return one

    def separate(self) -> Callable[[], Separate]:
        """A step of the other; returns its network."""
        module = Separate(self.layout, self.start)
        optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=self.decay / ROWS)

        def one() -> Separate:
            optimizer.zero_grad()
            separate_loss(module(self.inputs), self.targets).backward()
            optimizer.step()
            return module

        return one

    def heads(self) -> tuple[Callable[[], tuple[Tensor, ...]], Callable[[], tuple[Tensor, ...]]]:
        """Fused and separate heads alone: gradients of the hidden units, then of weights and biases."""
        own = {name: torch.from_numpy(value.copy()) for name, value in self.layout.split(self.start).items()}
        weight, bias = own["heads.weight"].requires_grad_(True), own["heads.bias"].requires_grad_(True)
        hidden = torch.randn(BATCH, weight.shape[1], generator=torch.Generator().manual_seed(3)).requires_grad_(True)
        modules = Separate(self.layout, self.start).heads
        parameters = [*(head.weight for head in modules), *(head.bias for head in modules)]

        def fused() -> tuple[Tensor, ...]:
            return torch.autograd.grad(
                self.loss(functional.linear(hidden, weight, bias), self.targets), (hidden, weight, bias)
            )

        def separate() -> tuple[Tensor, ...]:
            return torch.autograd.grad(
                separate_loss([head(hidden) for head in modules], self.targets), (hidden, *parameters)
            )

        return fused, separate


def _repeated(step: Callable[[], object]) -> Callable[[], object]:
    def several() -> None:
        for _ in range(STEPS):
            step()

    return several


def run() -> Iterator[Ratio]:
    """Heads alone, then the whole step, each per number of tasks."""
    for tasks in TASKS:
        fused, separate = Problem(tasks).heads()
        yield _told(f"{STEPS} x heads and loss alone, {tasks} tasks: fused / separate", fused, separate)
    for tasks in TASKS:
        problem = Problem(tasks)
        yield _told(f"{STEPS} x whole step, {tasks} tasks: fused / separate", problem.fused(), problem.separate())


def _told(name: str, fused: Callable[[], object], separate: Callable[[], object]) -> Ratio:
    ratio = compare(name, _repeated(fused), _repeated(separate), pairs=PAIRS, clock=time.process_time)
    return replace(ratio, note=f"{1 / ratio.ratio:.1f} times as fast")
