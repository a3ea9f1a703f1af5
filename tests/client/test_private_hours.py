"""Patient-level privacy with a sequence: each patient's gradient, clipped, and what one patient can move."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from client.config import find_sites
from client.patients import PatientSet
from client.training.private_trainer import PrivateTrainer
from common.hourly import label_columns
from common.losses import MultiTaskLoss
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan, plan_from_dict
from common.privacy.evaluation import PrivateEvaluation
from common.privacy.stay_gradients import StayGradients
from common.privacy.survey import PrivateSurvey
from experiments.simulate import simulate
from tests.hourly import HOURS, hourly_content, hourly_tables, write_site
from tests.private import seeded

CPU = torch.device("cpu")


def _plan(encoder: str = "tcn", *, dropout: float = 0.0, **privacy: object) -> Plan:
    content = hourly_content(encoder=encoder, dropout=dropout)
    content["privacy"] = {"unit": "patient", "noise_multiplier": 1.0, "rows_per_patient": 2, **privacy}
    return plan_from_dict(content, source="x")


def _patients(plan: Plan, count: int) -> PatientSet:
    """Patients with one or two stays."""
    random = np.random.default_rng(1)
    names = np.array([f"p{i:03d}" for i in range(count) for _ in range(1 + i % 2)])
    labels = random.integers(0, 2, (len(names), label_columns(plan))).astype(np.float32)
    labels[random.random(labels.shape) < 0.3] = np.nan
    inputs = random.normal(size=(len(names), Layout(plan).columns.width)).astype(np.float32)
    parts = (torch.from_numpy(part) for part in (inputs, labels))
    return PatientSet.of(*parts, names, rows_per_patient=2)


def _clip(plan: Plan, *, max_grad_norm: float) -> StayGradients:
    tasks = len(plan.tasks)
    return StayGradients(Network(Layout(plan), CPU), torch.zeros(tasks), torch.ones(tasks), max_grad_norm)


@pytest.mark.parametrize("encoder", ["tcn", "lstm", "gru", "attention", "mlp"])
@pytest.mark.parametrize("count", [7, 150])
def test_the_sum_is_that_of_a_loop_over_patients(encoder: str, count: int) -> None:
    plan = _plan(encoder)
    layout, data = Layout(plan), _patients(plan, count)
    network, theta = Network(layout, CPU), torch.from_numpy(initial_parameters(layout, seed=0))
    loss, variable = MultiTaskLoss(layout, torch.zeros(4), torch.ones(4)), theta.clone().requires_grad_(True)
    gradients = []
    for first, stays in zip(data.starts, data.counts, strict=True):
        rows = slice(first, first + stays)
        targets = loss.targets(data.labels[rows], torch.ones(4))  # the mean over the stays of the patient
        (gradient,) = torch.autograd.grad(loss(network.logits(variable, data.inputs[rows]), targets), variable)
        gradients.append(gradient.double())
    lengths = np.array([float(gradient.norm()) for gradient in gradients])
    most = float(np.median(lengths))
    expected = sum(part * min(1.0, most / length) for part, length in zip(gradients, lengths, strict=True))
    clip, total = _clip(plan, max_grad_norm=most), torch.empty(len(theta), dtype=torch.float64)
    weights = torch.from_numpy(np.repeat(1.0 / data.counts, data.counts).astype(np.float32))
    targets = clip.targets(data.labels, weights)
    norms = clip.add_up(clip.tensors(theta), clip.tensors(total), data.inputs, targets, data.counts)
    assert lengths.min() < most < lengths.max()
    np.testing.assert_allclose(norms.numpy(), lengths, rtol=1e-4)
    assert float((total - expected).norm()) <= 1e-4 * float(expected.norm())


def test_no_patient_moves_the_sum_by_more_than_the_bound() -> None:
    plan = _plan("gru")
    data, clip = _patients(plan, 12), _clip(plan, max_grad_norm=0.1)
    theta = torch.from_numpy(initial_parameters(Layout(plan), seed=0))
    targets = clip.targets(data.labels, torch.ones(len(data.labels)))
    targets[0, 0] = torch.inf  # a gradient that is not finite counts as none
    layers, sums = clip.tensors(theta), []
    for chosen in (np.arange(12), np.arange(11)):
        rows = data.rows(chosen)
        total = torch.empty_like(theta)
        norms = clip.add_up(layers, clip.tensors(total), data.inputs[rows], targets[rows], data.counts[chosen])
        assert norms[0] == torch.inf and norms[1:].isfinite().all()
        sums.append(total.double())
    assert 0.09 < float((sums[0] - sums[1]).norm()) <= 0.1 + 1e-6


def test_dropout_masks_are_each_patients_own() -> None:
    """Half of the units are dropped: the gradient of a step differs from the one without, and repeats with its key."""
    plan, start = _plan(dropout=0.5), initial_parameters(Layout(_plan()), seed=0)
    normaliser = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
    data = _patients(plan, 10)

    def gradient(own: Plan, seed: int) -> np.ndarray:
        trainer = PrivateTrainer(Network(Layout(own), CPU), normaliser, seeded(seed))
        return trainer.gradient(start, data, sampling_probability=1.0)

    np.testing.assert_array_equal(gradient(plan, 1), gradient(plan, 1))
    assert not np.array_equal(gradient(plan, 1), gradient(plan, 2))
    assert np.array_equal(gradient(_plan(), 1), gradient(_plan(), 2))
    assert np.isfinite(gradient(plan, 1)).all()
    trainer = PrivateTrainer(Network(Layout(plan), CPU), normaliser, seeded(3))
    assert not trainer.gradient(start, data, sampling_probability=0.0).any()


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_one_patient_moves_survey_and_evaluation_by_no_more_than_they_say(seed: int) -> None:
    plan, random = _plan(), np.random.default_rng(seed)
    survey, judge = PrivateSurvey(plan), PrivateEvaluation(plan)
    low, high = np.array([feature.range for feature in plan.hour_features]).T
    hours = random.uniform(low, high, (9, HOURS, 3)).astype(np.float32)
    hours[random.random(hours.shape) < 0.5] = np.nan
    rows = np.stack([random.uniform(0, 120, 9), random.integers(0, 2, 9)], axis=1).astype(np.float32)
    labels = random.integers(0, 2, (9, label_columns(plan))).astype(np.float32)
    labels[:, 4:][random.random((9, 2 * HOURS)) < random.random()] = np.nan
    scores = random.normal(0, 5, (9, 4 + 2 * HOURS)).astype(np.float32)

    def moved(vector) -> float:
        return float(np.linalg.norm(vector(slice(None)) - vector(slice(2, None))))

    edges, bins = survey.first_edges(), judge.first_edges()
    of_survey = moved(lambda kept: survey.of(rows[kept], labels[kept, :4], edges, hours=hours[kept]))
    of_scores = moved(lambda kept: judge.of(scores[kept], labels[kept], bins))
    assert 0 < of_survey <= survey.sensitivity and 0 < of_scores <= judge.sensitivity
    vector = judge.of(scores, labels, bins)
    assert len(vector) == judge.size and judge.plausible(vector, sites=1, noise=0.0)
    assert len(survey.of(rows, labels[:, :4], edges, hours=hours)) == survey.size


@pytest.mark.parametrize("noise", ["local", "shared"])
def test_a_whole_run_under_noise(noise: str, tmp_path: Path) -> None:
    """With little noise the hourly task is learnt, and the errors that are told hold what the data say."""
    for seed, name in enumerate(("east", "north", "south", "west")):
        write_site(tmp_path / "hospitals", name, *hourly_tables(seed, stays=120))
    content = hourly_content(dropout=0.0)
    content["privacy"] = {"unit": "patient", "noise": noise, "noise_multiplier": 0.02, "expected_patients": 150}
    content["training"] = {"rounds": 4, "batch_size": 16, "learning_rate": 0.3}
    content["aggregation"] = {"secure": True, "clip_norm": 2.0}
    result = simulate(plan_from_dict(content, source="x"), find_sites(tmp_path / "hospitals"), tmp_path / "out")
    assert result["privacy"]["unit"] == "patient"
    shock = result["tasks"]["shock"]
    assert 0.5 < shock["pooled"]["auroc"] <= 1.0 and shock["per_site"].keys() == {"east", "north", "south", "west"}
    exact = sum(site["n"] for site in shock["per_site"].values())
    assert abs(shock["pooled"]["n"] - exact) <= 2.0 + shock["noise"]["n"]
    assert result["missing"].keys() == {"age", "smoker", "map", "temp", "lactate"}
