"""Training runs with canaries, by the mechanism of the sites: what is released, and how it is scored.

Every site draws a fair coin for each of its canaries, trains by DP-SGD with its own Poisson samples and its own noise,
and releases its update. A patient is at one site, so the sites of a federation are one run with all their canaries
(parallel composition). The audit sees each site's update, as a coordinator without secure sums does; what the coins
decide is in nothing else: the number of patients that the accounting asks for is the expected one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from client.training.private_trainer import PrivateTrainer
from common.model import Layout, Network, Normaliser, initial_parameters
from common.privacy.accounting import epsilon
from common.privacy.mechanism import mechanism, round_event
from common.schedule import learning_rate
from common.secagg.primitives import Random
from experiments.audit.canaries import Canaries
from experiments.seeded import SeededRandomness

Score = Literal["gradient", "loss"]
MakeTrainer = Callable[[Network, Normaliser, Random], PrivateTrainer]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Played:
    """scores: (sites x m,), higher where the canary seems to be in. inside: (sites x m,), the coins.

    epsilon: what the accountant says that the training costs one patient, at `delta`.
    """

    scores: NDArray[np.float64]
    inside: NDArray[np.bool_]
    epsilon: float
    delta: float


def play(
    canaries: Canaries, *, sites: int, seed: int, score: Score = "gradient", trainer: MakeTrainer = PrivateTrainer
) -> Played:
    """One training run of `sites` hospitals, each with its own coins for the same canaries.

    seed: of coins, samples and noise. trainer: makes a site's trainer; another one than the sites' own stands for a
    mistake in it, of which the accountant knows nothing.
    score: "gradient" (white-box) is the update along the canary's clipped gradient, added up over rounds; "loss"
    (black-box) is by how much the canary's loss falls; it needs one canary to a site, for several move each other's.
    """
    plan, layout = canaries.plan, Layout(canaries.plan)
    network, planned = Network(layout, torch.device("cpu")), mechanism(plan, patients=canaries.expected)
    coins = np.random.default_rng([seed, sites, len(canaries)]).integers(0, 2, (sites, len(canaries))) == 1
    scores, received = np.zeros(coins.shape), initial_parameters(layout, seed=seed)
    for number in range(1, plan.training.rounds + 1):
        judge = _Judge(canaries, network, received, score)
        total = np.zeros(layout.parameters)
        for site, inside in enumerate(coins):
            random = SeededRandomness(seed, f"site {site}").source("train", number)
            trained = trainer(network, canaries.normaliser, random).train(
                received,
                canaries.patients(inside),
                noise_multiplier=planned.noise_multiplier,
                sampling_probability=planned.sampling_probability,
                steps=planned.steps_per_round,
                rate=learning_rate(plan.training, number),
            )
            scores[site] += judge.scores(trained)
            total += trained - received
        received = (received + total / sites).astype(np.float32)
    claimed = epsilon([round_event(plan, planned)] * plan.training.rounds, delta=plan.privacy.delta)
    return Played(scores.ravel(), coins.ravel(), claimed, plan.privacy.delta)


class _Judge:
    """Scores the canaries of a site by the model that it makes of the one received."""

    def __init__(self, canaries: Canaries, network: Network, received: Float32, score: Score) -> None:
        self._canaries, self._network, self._received, self._score = canaries, network, received, score
        if score == "loss":
            self._before = self._loss(received)
            return
        # No randomness is used where everybody is in the sample.
        known = PrivateTrainer(network, canaries.normaliser, bytes)
        everybody = canaries.patients(np.ones(len(canaries), dtype=np.bool_))
        # In the weights of a canary's own feature the sum over all canaries is that canary's clipped gradient.
        self._gradient = known.gradient(received, everybody, sampling_probability=1.0)

    def scores(self, trained: Float32) -> NDArray[np.float64]:
        """(m,)."""
        if self._score == "loss":
            return self._before - self._loss(trained)
        own = self._canaries.own
        along = (self._received - trained).astype(np.float64) * self._gradient
        return np.bincount(own[own >= 0], weights=along[own >= 0], minlength=len(self._canaries))

    def _loss(self, parameters: Float32) -> NDArray[np.float64]:
        """(m,) each canary's loss, all tasks together."""
        logits = self._network.logits(torch.from_numpy(parameters), self._canaries.inputs).double()
        return functional.softplus(-logits).sum(dim=1).numpy()
