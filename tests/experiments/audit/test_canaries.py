"""A canary's gradient: clipped, nearly all of it its own; and what each planted mistake does to it."""

import numpy as np
import pytest
import torch

from client.training.private_trainer import PrivateTrainer
from common.model import Layout, Network, initial_parameters
from experiments.audit.canaries import Canaries, audit_plan
from experiments.audit.planted import ClippedByTask, FixedBatch, FullBatches, HalfTheNoise
from experiments.seeded import SeededRandomness

CLIP = 0.5


def _canaries(*, tasks: int = 1, batch_share: float = 1.0, count: int = 40) -> Canaries:
    return Canaries(audit_plan(canaries=count, noise_multiplier=1.0, delta=1e-5, tasks=tasks, batch_share=batch_share))


def _made(kind: type[PrivateTrainer], canaries: Canaries, seed: int = 0) -> PrivateTrainer:
    network = Network(Layout(canaries.plan), torch.device("cpu"))
    return kind(network, canaries.normaliser, SeededRandomness(seed, "one").source("train"))


def _gradient(kind: type[PrivateTrainer], canaries: Canaries, *who: int) -> np.ndarray:
    """The clipped sum of these canaries, (D,)."""
    inside = np.isin(np.arange(len(canaries)), who)
    start = initial_parameters(Layout(canaries.plan), seed=0)
    found = _made(kind, canaries).gradient(start, canaries.patients(inside), sampling_probability=1.0)
    return found.astype(np.float64) * canaries.plan.training.batch_size


@pytest.mark.parametrize("tasks", [1, 4])
def test_a_canary_fills_the_clip_norm_and_its_own_weights(tasks: int) -> None:
    canaries = _canaries(tasks=tasks)
    for who in (0, 7, 39):
        gradient = _gradient(PrivateTrainer, canaries, who)
        assert np.linalg.norm(gradient) == pytest.approx(CLIP, rel=1e-3)
        assert 0.9 * CLIP < np.linalg.norm(gradient[canaries.own == who]) < 0.9 * CLIP * 10 / 9
        assert not gradient[(canaries.own >= 0) & (canaries.own != who)].any()


def test_in_its_own_weights_the_sum_over_all_is_the_canarys() -> None:
    canaries = _canaries()
    together = _gradient(PrivateTrainer, canaries, *range(len(canaries)))
    for who in (0, 7, 39):
        own = canaries.own == who
        assert np.allclose(together[own], _gradient(PrivateTrainer, canaries, who)[own], rtol=1e-4, atol=1e-7)


def test_clipped_by_task_a_patient_moves_the_sum_by_more() -> None:
    canaries = _canaries(tasks=4)
    assert np.linalg.norm(_gradient(ClippedByTask, canaries, 3)) > 1.9 * CLIP
    one = _canaries(tasks=1)
    assert np.allclose(_gradient(ClippedByTask, one, 3), _gradient(PrivateTrainer, one, 3), rtol=1e-5, atol=1e-8)


def _moves(kind: type[PrivateTrainer], *, noise: float, probability: float, seeds: int) -> np.ndarray:
    """(seeds, D) of one step with every canary of a site."""
    canaries = _canaries()
    start, everybody = initial_parameters(Layout(canaries.plan), seed=0), canaries.patients(np.ones(40, dtype=np.bool_))
    options = {"noise_multiplier": noise, "sampling_probability": probability, "steps": 1, "rate": 1.0}
    return np.array([_made(kind, canaries, seed).train(start, everybody, **options) - start for seed in range(seeds)])


def test_half_the_noise_is_half_the_noise() -> None:
    spread = [_moves(kind, noise=50.0, probability=0.0, seeds=40).std() for kind in (PrivateTrainer, HalfTheNoise)]
    assert spread[1] == pytest.approx(spread[0] / 2.0, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "always", "never"), [(FullBatches, 40, 0), (FixedBatch, 10, 30), (PrivateTrainer, 0, 0)]
)
def test_who_is_in_a_step(kind: type[PrivateTrainer], always: int, never: int) -> None:
    """Of 40 canaries at a probability of 1/4, over 40 steps almost without noise."""
    canaries, moves = _canaries(), np.abs(_moves(kind, noise=1e-3, probability=0.25, seeds=40))
    inside = np.array([moves[:, canaries.own == who].max(axis=1) for who in range(40)]) > 0.005
    shares = inside.mean(axis=1)
    assert ((shares == 1.0).sum(), (shares == 0.0).sum()) == (always, never)
