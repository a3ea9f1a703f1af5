"""DP-SGD for patients (Abadi et al. 2016): sample patients, clip each one's gradient, add up, add noise, step.

Everything that protects is secret: who is in a step, the noise and the dropout masks come from a cryptographic source.
The coordinator knows the plan's seeds, and a sample or a mask that it can foresee hides nobody.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from client.patients import PatientSet
from client.training.trainer import Float32, decay_of, optimizer_of
from common.model import Network, Normaliser
from common.privacy.noisy_sum import NoisySum
from common.privacy.output_gradient import OutputGradient
from common.privacy.per_patient import PatientGradients
from common.privacy.rounding import precision
from common.privacy.stay_gradients import StayGradients
from common.privacy.stream import Stream, poisson_sample
from common.secagg.primitives import Random


@dataclass(frozen=True)
class PrivateTrainer:
    """Trains one site's copy of the network for one round. random: the source of all that must stay secret.

    A patient's loss is the mean over the patient's rows of the sum over tasks, each with weight 1: no weight depends on
    the company. Rows of heads without a label in a step move too: which ones those are is nobody's business.
    """

    network: Network
    normaliser: Normaliser
    random: Random

    def train(
        self,
        start: Float32,
        data: PatientSet,
        *,
        noise_multiplier: float,
        sampling_probability: float,
        steps: int,
        rate: float,
    ) -> Float32:
        """Parameters after `steps` noisy steps from `start`, (D,) float32.

        noise_multiplier: standard deviation of each step's noise over its sensitivity. sampling_probability: of each
        patient in each step; a step without a patient is a step of noise. rate: step size of this round.
        The same bytes from `random` give the same bits on one machine.
        Raises PlanError for noise that no grid can hold. Where training diverges the parameters are not finite.
        """
        rules = self.network.layout.plan.training
        noise = NoisySum.of(len(start), max_norm=self._clip.max_grad_norm, noise_multiplier=noise_multiplier)
        anchor = torch.from_numpy(start).to(self.network.device)
        theta, decay, targets = anchor.clone(), decay_of(self.network, self.normaliser), self._targets(data)
        step, stream = optimizer_of(rules, rate), Stream(self.random)
        layers, sums = self._clip.tensors(theta), Sums(self._clip, theta)
        for _ in range(steps):
            total, patients = self._add_up(layers, sums, data, targets, sampling_probability, stream)
            gradient = noise.release(total, stream, patients=patients, divisor=rules.batch_size)
            if rules.proximal_mu > 0.0:
                gradient.add_(theta - anchor, alpha=rules.proximal_mu)
            step(theta, gradient, decay)
        return theta.cpu().numpy()

    def gradient(self, start: Float32, data: PatientSet, *, sampling_probability: float) -> Float32:
        """Clipped gradients of one sample of patients, added up and divided by the plan's batch size, (D,) float32.

        There is no noise in it yet: it may leave only in a sum that carries the noise.
        """
        theta = torch.from_numpy(start).to(self.network.device)
        layers, sums = self._clip.tensors(theta), Sums(self._clip, theta)
        total, _ = self._add_up(layers, sums, data, self._targets(data), sampling_probability, Stream(self.random))
        # One rounding to float32 after the division: relative to the entry, as that of the cut to the clip norm.
        return total.mul_(1.0 / self.network.layout.plan.training.batch_size).float().cpu().numpy()

    @cached_property
    def _clip(self) -> PatientGradients | StayGradients:
        layout, device = self.network.layout, self.network.device
        of_labels = (self.normaliser.label_mean, self.normaliser.label_std)
        mean, std = (torch.from_numpy(part).to(device) for part in of_labels)
        if layout.plan.sequence is not None:
            return StayGradients(self.network, mean, std, layout.plan.privacy.max_grad_norm)
        return PatientGradients(self.network, OutputGradient(layout, mean, std), layout.plan.privacy.max_grad_norm)

    def _targets(self, data: PatientSet) -> Tensor:
        weights = np.repeat(1.0 / data.counts, data.counts).astype(np.float32)
        return self._clip.targets(data.labels, torch.from_numpy(weights).to(self.network.device))

    def _add_up(
        self,
        layers: dict[str, Tensor],
        sums: "Sums",
        data: PatientSet,
        targets: Tensor,
        probability: float,
        stream: Stream,
    ) -> tuple[Tensor, int]:
        """Clipped gradients of a fresh sample, added up, (D,) in `sums`; and the number of patients in it."""
        chosen = poisson_sample(len(data), probability, stream)
        rows = torch.from_numpy(data.rows(chosen)).to(self.network.device)
        total, into = sums.of(len(chosen), len(rows) * len(self.network.groups))
        self._clip.add_up(
            layers,
            into,
            data.inputs.index_select(0, rows),
            targets.index_select(0, rows),
            data.counts[chosen],
            dropout=lambda passes, width: self._mask(stream, passes, width),
        )
        return total, len(chosen)

    def _mask(self, stream: Stream, passes: int, width: int) -> Tensor:
        """(passes, width) float32 dropout mask; the plan's rate is met to 2^-17."""
        rate = self.network.layout.plan.model.dropout
        kept = stream.words(np.uint16, passes * width) >= np.uint16(min(round(rate * 2**16), 2**16 - 1))
        mask = np.multiply(kept, np.float32(1.0 / (1.0 - rate)), dtype=np.float32).reshape(passes, width)
        return torch.from_numpy(mask).to(self.network.device)


class Sums:
    """Memory for the sum of a step, in the precision that its size asks for; the same one from step to step."""

    def __init__(self, clip: PatientGradients | StayGradients, like: Tensor) -> None:
        self._clip, self._like = clip, like
        self._made: dict[torch.dtype, tuple[Tensor, dict[str, Tensor]]] = {}

    def of(self, patients: int, passes: int) -> tuple[Tensor, dict[str, Tensor]]:
        """(D,) for the sum over so many patients with so many passes together, and its named views."""
        kind = precision(patients=patients, passes=passes, size=len(self._like))
        if kind not in self._made:
            total = torch.empty_like(self._like, dtype=kind)
            self._made[kind] = total, self._clip.tensors(total)
        return self._made[kind]
