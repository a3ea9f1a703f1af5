"""DP-SGD at a site: what a step is, how much noise is in it, and where its randomness comes from."""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch

from client.patients import PatientSet
from client.training.private_trainer import PrivateTrainer
from client.training.trainer import decay_of
from common.losses import MultiTaskLoss
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan
from common.privacy.stream import Stream
from tests.private import seeded

CPU = torch.device("cpu")
MakePlan = Callable[..., Plan]


@pytest.fixture
def private_plan(make_plan: MakePlan) -> MakePlan:
    def make(*, max_grad_norm: float = 1.0, dropout: float = 0.0, **training: object) -> Plan:
        return make_plan(
            training={"batch_size": 8, "l2_linear": 0.0, "l2_network": 0.0, **training},
            model={"hidden": [8], "dropout": dropout},
            privacy={"unit": "patient", "noise_multiplier": 1.0, "max_grad_norm": max_grad_norm},
        )

    return make


def _trainer(plan: Plan, seed: int = 0, device: torch.device = CPU) -> PrivateTrainer:
    normaliser = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
    return PrivateTrainer(Network(Layout(plan), device), replace(normaliser, rows=50.0), seeded(seed))


def _data(plan: Plan, *, patients: int = 40, device: torch.device = CPU) -> PatientSet:
    """Patients with one, two or three rows."""
    random = np.random.default_rng(1)
    names = np.array([f"p{i:02d}" for i in range(patients) for _ in range(1 + i % 3)])
    rows = len(names)
    labels = np.stack([random.integers(0, 2, rows), 3 * random.random(rows), *random.integers(0, 2, (2, rows))], axis=1)
    labels[random.random(labels.shape) < 0.2] = np.nan
    inputs = random.normal(size=(rows, Layout(plan).columns.inputs))
    one, two = (torch.from_numpy(part.astype(np.float32)).to(device) for part in (inputs, labels))
    return PatientSet.of(one, two, names, rows_per_patient=3)


def _gradient(plan: Plan, start: np.ndarray, data: PatientSet) -> np.ndarray:
    """By autograd: patients' mean losses added up, nothing clipped, over the batch size."""
    trainer, theta = _trainer(plan), torch.from_numpy(start).requires_grad_(True)
    mean, std = (torch.from_numpy(part) for part in (trainer.normaliser.label_mean, trainer.normaliser.label_std))
    loss, total = MultiTaskLoss(Layout(plan), mean, std), torch.zeros(())
    for first, count in zip(data.starts, data.counts, strict=True):
        rows = slice(first, first + count)
        targets = loss.targets(data.labels[rows], torch.ones(len(plan.tasks)))
        total = total + loss(trainer.network.logits(theta, data.inputs[rows]), targets)
    (gradient,) = torch.autograd.grad(total, theta)
    return gradient.numpy() / plan.training.batch_size


def test_a_gradient_is_the_sum_over_the_sample_divided_by_the_batch_size(private_plan: MakePlan) -> None:
    plan = private_plan(max_grad_norm=1e4)
    data, start = _data(plan), initial_parameters(Layout(plan), seed=0)
    found = _trainer(plan).gradient(start, data, sampling_probability=1.0)
    assert np.allclose(found, _gradient(plan, start, data), rtol=1e-4, atol=1e-6)
    assert not _trainer(plan).gradient(start, data, sampling_probability=0.0).any()


def test_the_whole_sum_is_bounded_by_its_patients(private_plan: MakePlan) -> None:
    plan = private_plan(max_grad_norm=0.01)
    data, start = _data(plan, patients=1), initial_parameters(Layout(plan), seed=0)
    found = _trainer(plan).gradient(start, data, sampling_probability=1.0)
    assert 0.999 * 0.01 / 8 < np.linalg.norm(found.astype(np.float64)) <= 0.01 / 8


@pytest.mark.parametrize("patients", [3_000, 50_000])
def test_the_sum_of_very_many_patients_is_that_of_a_few(private_plan: MakePlan, patients: int) -> None:
    """All alike, so that in float32 every addition errs to the same side."""
    plan = private_plan(max_grad_norm=0.1)
    few = _data(plan, patients=1)
    start = initial_parameters(Layout(plan), seed=0)

    def total(count: int) -> np.ndarray:
        ones = np.ones(count, dtype=np.int64)
        rows = torch.zeros(count, dtype=torch.int64)
        data = PatientSet(few.inputs[rows], few.labels[rows], np.arange(count), ones)
        return _trainer(plan).gradient(start, data, sampling_probability=1.0).astype(np.float64)

    of_few = total(32) / 32 * patients
    assert np.linalg.norm(total(patients) - of_few) <= 2.0**-22 * np.linalg.norm(of_few)


@pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("adamw", 0.0)])
def test_without_clipping_and_noise_it_is_ordinary_training(
    private_plan: MakePlan, optimizer: str, momentum: float
) -> None:
    plan = private_plan(max_grad_norm=30.0, optimizer=optimizer, momentum=momentum, l2_linear=5.0, l2_network=5.0)
    data, start = _data(plan), initial_parameters(Layout(plan), seed=0)
    trained = _trainer(plan).train(start, data, noise_multiplier=1e-6, sampling_probability=1.0, steps=5, rate=0.02)
    decay = decay_of(_trainer(plan).network, _trainer(plan).normaliser)
    theta = torch.nn.Parameter(torch.from_numpy(start.copy()))
    step = (
        torch.optim.SGD([theta], lr=0.02, momentum=momentum)
        if optimizer == "sgd"
        else torch.optim.AdamW([theta], lr=0.02, weight_decay=0.0)
    )
    for _ in range(5):
        theta.grad = torch.from_numpy(_gradient(plan, theta.detach().numpy(), data))
        with torch.no_grad():
            if optimizer == "sgd":
                theta.grad += decay * theta
            else:
                theta *= 1.0 - 0.02 * decay
        step.step()
    moved = trained - start
    expected = theta.detach().numpy() - start
    assert np.linalg.norm(moved - expected) < (1e-3 if optimizer == "sgd" else 2e-2) * np.linalg.norm(expected)


@pytest.mark.parametrize(("probability", "steps"), [(0.0, 1), (0.0, 16), (1.0, 1)])
def test_a_step_has_the_noise_that_is_accounted_for(private_plan: MakePlan, probability: float, steps: int) -> None:
    """Also a step without a patient. At z = 50 noise is all there is to see."""
    plan = private_plan(max_grad_norm=0.7, momentum=0.0)
    data, start = _data(plan), initial_parameters(Layout(plan), seed=0)
    moves = [
        (trained - start) / 0.5
        for seed in range(60)
        for trained in [
            _trainer(plan, seed).train(
                start, data, noise_multiplier=50.0, sampling_probability=probability, steps=steps, rate=0.5
            )
        ]
    ]
    noise = np.concatenate(moves)
    expected = 50.0 * 0.7 / 8 * sqrt(steps)
    assert noise.std() == pytest.approx(expected, rel=4.5 / sqrt(2 * len(noise)) + 0.003)
    assert abs(noise.mean()) < 0.1 * expected


def test_everything_follows_from_the_random_bytes(private_plan: MakePlan) -> None:
    plan = private_plan(dropout=0.3)
    data, start = _data(plan), initial_parameters(Layout(plan), seed=0)
    options = {"noise_multiplier": 1.0, "sampling_probability": 0.3, "steps": 4, "rate": 0.1}
    one, again, other = (_trainer(plan, seed).train(start, data, **options).tobytes() for seed in (1, 1, 2))
    assert one == again != other
    gradients = [_trainer(plan, seed).gradient(start, data, sampling_probability=0.3).tobytes() for seed in (1, 1, 2)]
    assert gradients[0] == gradients[1] != gradients[2]


def test_dropout_keeps_its_share_and_the_mean(private_plan: MakePlan) -> None:
    plan = private_plan(dropout=0.3)
    trainer = _trainer(plan)
    mask = trainer._mask(Stream(seeded(5)), 500, 400).numpy()
    assert set(np.unique(mask)) == {np.float32(0.0), np.float32(1 / 0.7)}
    kept = mask > 0
    for axis in (0, 1):
        counts, trials = kept.sum(axis=axis), kept.shape[axis]
        assert abs(counts.mean() - 0.7 * trials) < 4.5 * sqrt(0.21 * kept.size) / kept.shape[1 - axis]
        assert 0.7 < counts.var() / (0.21 * trials) < 1.3


def test_dropout_differs_from_row_to_row(private_plan: MakePlan) -> None:
    plan = private_plan(dropout=0.5, max_grad_norm=1e4)
    data, start = _data(plan), initial_parameters(Layout(plan), seed=0)
    full = _gradient(plan, start, data)
    average = np.mean(
        [_trainer(plan, seed).gradient(start, data, sampling_probability=1.0) for seed in range(200)], axis=0
    )
    assert np.corrcoef(average, full)[0, 1] > 0.9 and not np.allclose(average, full, rtol=1e-3)


def test_proximal_term_pulls_towards_the_model_received(make_plan: MakePlan) -> None:
    moves = []
    for mu in (0.0, 5.0):
        plan = make_plan(
            training={"proximal_mu": mu, "momentum": 0.0},
            aggregation={"strategy": "fedprox" if mu else "fedavg"},
            privacy={"unit": "patient", "noise_multiplier": 1.0},
        )
        data, start = _data(plan), initial_parameters(Layout(plan), seed=0)
        options = {"noise_multiplier": 1e-3, "sampling_probability": 1.0, "steps": 20, "rate": 0.1}
        moves.append(np.linalg.norm(_trainer(plan).train(start, data, **options) - start))
    assert moves[1] < 0.9 * moves[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_patient_without_a_finite_gradient_counts_as_zero(private_plan: MakePlan, value: float) -> None:
    """A refusal, or a site that sends nothing but zeros, would tell that this patient is there."""
    plan = private_plan()
    whole, start = _data(plan), initial_parameters(Layout(plan), seed=0)
    broken = replace(whole, inputs=whole.inputs.clone())
    first = int(whole.counts[0])  # rows of the first patient
    broken.inputs[:first] = value
    others = PatientSet(whole.inputs[first:], whole.labels[first:], whole.starts[1:] - first, whole.counts[1:])
    sums = [_trainer(plan).gradient(start, data, sampling_probability=1.0) for data in (broken, others)]
    assert np.isfinite(sums[0]).all() and np.allclose(sums[0], sums[1], rtol=1e-5, atol=1e-7)


def test_where_training_diverged_only_noise_is_left(private_plan: MakePlan) -> None:
    plan = private_plan()
    data, start = _data(plan), initial_parameters(Layout(plan), seed=0)
    start[0] = np.nan
    assert not _trainer(plan).gradient(start, data, sampling_probability=1.0).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu_takes_the_same_steps(private_plan: MakePlan) -> None:
    plan, gpu = private_plan(dropout=0.2), torch.device("cuda:0")
    start = initial_parameters(Layout(plan), seed=0)
    options = {"noise_multiplier": 1.0, "sampling_probability": 0.5, "steps": 4, "rate": 0.1}
    on = [_trainer(plan, 3, place).train(start, _data(plan, device=place), **options) for place in (CPU, gpu)]
    assert np.allclose(*on, rtol=1e-3, atol=1e-4)
