"""Local training: the whole data set on the device, index batches, one flat parameter tensor.

The optimiser's step is a handful of operations on that tensor. Rows of heads that a batch holds no label for keep their
values bit for bit: with momentum or decay a zero gradient alone would still move them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.balancing import CombinedGradient, bounded, combination, uncertainty_weights
from common.losses import MultiTaskLoss, Targets, task_weights
from common.model import Network, Normaliser
from common.penalty import l2_penalty
from common.plan import Training

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class TrainingSet:
    """A site's training rows on its device. inputs: (n, width). labels: (n, T + K H), NaN where unlabelled."""

    inputs: Tensor
    labels: Tensor

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        return (~self.labels.isnan()).cpu().numpy()


def batch_generator(seed: int, site: str, round_number: int, device: torch.device) -> torch.Generator:
    """Source of batches and dropout masks of one site in one round.

    These are not secrets and follow from the plan's seed, so that runs repeat and resume bit for bit. Whatever must be
    secret (noise, masks, keys) never comes from here.
    """
    words = [seed, round_number, *site.encode()]
    state = np.random.SeedSequence(words).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> 1))


@dataclass(frozen=True)
class Trainer:
    """Trains one site's copy of the network for one round. frozen: (D,) parameters that keep their values, if any.

    own_rows: training rows by which the penalty of parameters that stay at the site is divided: no others teach them.
    """

    network: Network
    normaliser: Normaliser
    frozen: NDArray[np.bool_] | None = None
    own_rows: int | None = None

    @cached_property
    def loss(self) -> MultiTaskLoss:
        device = self.network.device
        mean, std = self.normaliser.label_mean, self.normaliser.label_std
        return MultiTaskLoss(self.network.layout, torch.from_numpy(mean).to(device), torch.from_numpy(std).to(device))

    @cached_property
    def _decay(self) -> Tensor:
        decay, layout = decay_of(self.network, self.normaliser), self.network.layout
        if self.own_rows is None:
            return decay
        own = l2_penalty(layout, self.own_rows)
        return torch.where(*(torch.from_numpy(part).to(self.network.device) for part in (layout.local, own)), decay)

    @cached_property
    def _resting(self) -> Tensor | None:
        """(D,) what keeps its value: `frozen`, and the encoder where the plan says so; None where nothing does."""
        layout = self.network.layout
        resting = np.zeros(layout.parameters, dtype=np.bool_) if self.frozen is None else self.frozen
        if layout.plan.frozen:
            resting = resting | (layout.output_of < 0)
        return torch.from_numpy(resting).to(self.network.device) if resting.any() else None

    @cached_property
    def _task_of_parameter(self) -> tuple[Tensor, Tensor]:
        """(D,) index of the task whose head holds a parameter (0 for the encoder), and whether it is of the encoder."""
        layout = self.network.layout
        output = layout.output_of
        task = np.where(output >= 0, layout.task_of_output[output], 0)
        device = self.network.device
        return torch.from_numpy(task).to(device), torch.from_numpy(output < 0).to(device)

    def train(self, start: Float32, data: TrainingSet, *, generator: torch.Generator, rate: float) -> Float32:
        """Parameters after the plan's local epochs from `start`, (D,) float32.

        generator: source of batches and dropout. rate: step size of this round. Same arguments give the same bits on
        one machine.
        """
        rules = self.network.layout.plan.training
        device = self.network.device
        anchor = torch.from_numpy(start).to(device)
        theta = anchor.clone().requires_grad_(True)
        tasks = len(self.network.layout.plan.tasks)
        weights = torch.from_numpy(self._task_weights(anchor, data)).to(device)
        gradient_of = self._gradient(generator)
        step = optimizer_of(rules, rate)
        rows = len(data.inputs)
        for batches in _passes(rules, rows):
            order = torch.randperm(rows, generator=generator, device=device)[: batches[-1].stop]
            inputs, labels = data.inputs[order], data.labels[order]
            movable, every = self._movable(labels[:, :tasks], batches)
            targets = self.loss.targets(labels, weights)
            for number, batch in enumerate(batches):
                gradient = gradient_of(theta, inputs[batch], targets[batch])
                with torch.no_grad():
                    if rules.proximal_mu > 0.0:
                        gradient = gradient + rules.proximal_mu * (theta - anchor)
                    before = None if every[number] else theta.clone()
                    step(theta, gradient, self._decay)
                    if self._resting is not None:
                        theta.copy_(torch.where(self._resting, anchor, theta))
                    if before is not None:
                        theta.copy_(torch.where(movable[number], theta, before))
        return theta.detach().cpu().numpy()

    def _task_weights(self, received: Tensor, data: TrainingSet) -> Float32:
        """(T,) constants of this round."""
        plan = self.network.layout.plan
        weights = task_weights(data.labelled[:, : len(plan.tasks)])
        if plan.training.balancing != "uncertainty":
            return weights
        uncertain = uncertainty_weights(self.network, self.loss, received, data.inputs, data.labels)
        return bounded(weights * uncertain)

    def _gradient(self, generator: torch.Generator) -> Callable[[Tensor, Tensor, Targets], Tensor]:
        """A function of parameters, (D,), inputs and targets of a batch that gives the plan's gradient, (D,)."""
        plan = self.network.layout.plan
        if plan.training.combines_gradients and len(plan.tasks) > 1:
            combine = combination(plan.training.balancing, generator.initial_seed())
            return partial(CombinedGradient(self.network, self.loss, combine), dropout=generator)

        def plain(theta: Tensor, inputs: Tensor, targets: Targets) -> Tensor:
            logits = self.network.logits(theta, inputs, dropout=generator)
            (gradient,) = torch.autograd.grad(self.loss(logits, targets), theta)
            return gradient

        return plain

    def _movable(self, labels: Tensor, batches: list[slice]) -> tuple[list[Tensor], list[bool]]:
        """Per batch: (D,) which parameters it may move, and whether that is all of them (one copy to the host)."""
        present = torch.stack([(~labels[batch].isnan()).any(dim=0) for batch in batches])
        every = present.all(dim=1).tolist()
        if all(every):
            return list(present), every
        task, encoder = self._task_of_parameter
        return [row if full else row[task] | encoder for row, full in zip(present, every, strict=True)], every


def _passes(rules: Training, rows: int) -> list[list[slice]]:
    """The batches of each pass over a site's `rows`: the plan's epochs, then more until the fewest steps are taken.

    Without these a site of one batch would take a tenth of the steps of one with ten, and the average would settle
    where the large sites want it (Wang et al. 2020, "Tackling the objective inconsistency problem"). The batches of a
    pass are as equal as can be: a last one of a single row would count as much as one of 32.
    """
    each = -(-rows // rules.batch_size)
    ends = [rows * number // each for number in range(each + 1)]
    batches = [slice(first, end) for first, end in pairwise(ends)]
    steps = max(each * rules.local_epochs, rules.min_local_steps)
    return [batches[: steps - done] for done in range(0, steps, each)]


def decay_of(network: Network, normaliser: Normaliser) -> Tensor:
    """`l2_penalty`, (D,), on the network's device."""
    return torch.from_numpy(l2_penalty(network.layout, normaliser.rows)).to(network.device)


def optimizer_of(rules: Training, rate: float) -> "Sgd | AdamW":
    """The plan's step: a function of the parameters, which it moves, their gradient and their decay, each (D,)."""
    return Sgd(rate, rules.momentum) if rules.optimizer == "sgd" else AdamW(rate)


class Sgd:
    """Momentum SGD with L2 added to the gradient (Sutskever et al. 2013, as torch.optim.SGD computes it)."""

    def __init__(self, rate: float, momentum: float) -> None:
        self._rate, self._momentum = rate, momentum
        self._velocity: Tensor | None = None

    def __call__(self, theta: Tensor, gradient: Tensor, decay: Tensor) -> None:
        gradient = torch.addcmul(gradient, decay, theta)
        if self._velocity is None:
            self._velocity = gradient
        else:
            self._velocity.mul_(self._momentum).add_(gradient)
        theta.add_(self._velocity, alpha=-self._rate)


class AdamW:
    """Adam with decoupled decay (Loshchilov and Hutter 2019), betas .9 and .999, epsilon 1e-8."""

    def __init__(self, rate: float) -> None:
        self._rate, self._steps = rate, 0
        self._first: Tensor | None = None
        self._second: Tensor | None = None

    def __call__(self, theta: Tensor, gradient: Tensor, decay: Tensor) -> None:
        if self._first is None or self._second is None:
            self._first, self._second = torch.zeros_like(theta), torch.zeros_like(theta)
        self._steps += 1
        self._first.lerp_(gradient, 0.1)
        self._second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        corrected = (self._second / (1.0 - 0.999**self._steps)).sqrt_().add_(1e-8)
        theta.mul_(1.0 - self._rate * decay)
        theta.addcdiv_(self._first, corrected, value=-self._rate / (1.0 - 0.9**self._steps))
