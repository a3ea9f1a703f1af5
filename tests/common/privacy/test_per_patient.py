"""Sums of clipped per-patient gradients against torch.func, which works out each patient's gradient by itself."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, vmap

from common.losses import MultiTaskLoss
from common.model import Layout, Network, initial_parameters
from common.plan import plan_from_dict
from common.privacy.output_gradient import OutputGradient
from common.privacy.per_patient import ClippedSum, PatientGradients

CPU = torch.device("cpu")
KINDS: dict[str, dict[str, Any]] = {
    "binary": {},
    "regression": {"kind": "regression", "range": [0, 60]},
    "multiclass": {"kind": "multiclass", "classes": [1, 2, 3]},
    "ordinal": {"kind": "ordinal", "classes": [1, 2, 3]},
}
EXCLUSIONS: list[list[str]] = [[], ["f0"], ["f0", "f1"], ["f1", "f2"]]  # overlapping groups


def _network(hidden: list[int], *, linear: bool, groups: int, kinds: list[str], dropout: float = 0.0) -> Network:
    features: list[dict[str, Any]] = [{"name": f"f{i}", "range": [-9, 9]} for i in range(3)]
    tasks = [
        {"name": f"t{i}", "label": f"y{i}", "exclude": EXCLUSIONS[i % groups], **KINDS[kind]}
        for i, kind in enumerate(kinds)
    ]
    content = {
        "federation": {"name": "x"},
        "data": {"patient": "p"},
        "features": [*features, {"name": "w", "kind": "categorical", "categories": ["a", "b"]}],
        "tasks": tasks,
        "model": {"hidden": hidden, "linear_path": linear, "dropout": dropout, "piecewise_bins": 2},
    }
    return Network(Layout(plan_from_dict(content, source="x")), CPU)


class _Problem:
    """Random rows of random patients for one network."""

    def __init__(self, network: Network, counts: list[int], *, missing: float, seed: int, kind: torch.dtype) -> None:
        self.network, self.counts, self.kind = network, np.array(counts, dtype=np.int64), kind
        layout, random = network.layout, np.random.default_rng(seed)
        rows = sum(counts)
        tasks = layout.plan.tasks
        labels = np.empty((rows, len(tasks)))
        for i, task in enumerate(tasks):
            high = {"binary": 2, "multiclass": 3, "ordinal": 3, "regression": 60}[task.kind]
            labels[:, i] = random.integers(0, high, rows)
        labels[random.random(labels.shape) < missing] = np.nan
        self.labels = torch.from_numpy(labels).to(kind)
        self.inputs = torch.from_numpy(random.normal(size=(rows, layout.columns.inputs))).to(kind)
        theta = initial_parameters(layout, seed=seed) + 0.1 * random.normal(size=layout.parameters)
        self.theta = torch.from_numpy(theta).to(kind)
        self.mean = torch.full((len(tasks),), 20.0, dtype=kind)
        self.std = torch.full((len(tasks),), 8.0, dtype=kind)

    def ours(self, bound: float, patients: slice = slice(None), **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Clipped sum and norms before clipping, of all patients or some."""
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        chosen = range(len(self.counts))[patients]
        first, stop = (starts[chosen.start], starts[chosen.stop]) if len(chosen) else (0, 0)
        counts, rows = self.counts[patients], slice(first, stop)
        output = OutputGradient(self.network.layout, self.mean, self.std)
        weights = torch.from_numpy(np.repeat(1.0 / counts, counts)).to(self.kind)
        result = PatientGradients(self.network, output, bound).clipped_sum(
            self.theta, self.inputs[rows], output.targets(self.labels[rows], weights), counts, **options
        )
        return result.total, result.norms

    def theirs(self) -> torch.Tensor:
        """(patients, D): the gradient of each patient's mean loss, by vmap over patients with equally many rows."""
        loss = MultiTaskLoss(self.network.layout, self.mean, self.std)
        ones = torch.ones(len(self.network.layout.plan.tasks), dtype=self.kind)
        wide = _in_double(self.network) if self.kind == torch.float64 else self.network

        def patient(theta: torch.Tensor, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return loss(wide.logits(theta, inputs), loss.targets(labels, ones))

        result = torch.empty(len(self.counts), len(self.theta), dtype=self.kind)
        owner = np.repeat(np.arange(len(self.counts)), self.counts)
        for count in set(self.counts.tolist()):
            same = np.flatnonzero(self.counts == count)
            rows = np.flatnonzero(np.isin(owner, same))
            inputs, labels = (part[rows].view(len(same), count, -1) for part in (self.inputs, self.labels))
            result[same] = vmap(grad(patient), in_dims=(None, 0, 0))(self.theta, inputs, labels)
        return result


def _in_double(network: Network) -> Network:
    double = Network(network.layout, network.device)
    double.__dict__["_exclusions"] = tuple(part.double() for part in network._exclusions)
    return double


networks = st.builds(
    _network,
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    linear=st.booleans(),
    groups=st.integers(1, 4),
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5),
)
patients = st.one_of(
    st.lists(st.just(1), min_size=1, max_size=8),
    st.lists(st.integers(1, 3), min_size=1, max_size=8),
)


def _bound(norms: torch.Tensor, clipped: float) -> float:
    """A bound that clips this share of the patients, as nearly as there are any."""
    if clipped == 0.5:
        return float(norms.median()) or 1.0
    return float(1.01 * norms.max() + 1e-9 if clipped == 0.0 else 0.5 * norms[norms > 0].min() if norms.any() else 1.0)


@pytest.mark.parametrize("clipped", [0.0, 0.5, 1.0])
@settings(max_examples=25, deadline=None)
@given(networks, patients, st.sampled_from([0.0, 0.4, 0.9]), st.integers(0, 10**6))
def test_equals_every_patients_own_gradient(
    clipped: float, network: Network, counts: list[int], missing: float, seed: int
) -> None:
    problem = _Problem(network, counts, missing=missing, seed=seed, kind=torch.float64)
    gradients = problem.theirs()
    norms = gradients.norm(dim=1)
    bound = _bound(norms, clipped)
    each = gradients * (bound / norms).clamp(max=1.0)[:, None]
    total, found = problem.ours(bound)
    assert torch.allclose(found, norms, rtol=1e-6, atol=1e-7)
    # Patients may cancel out to the last bits, which are then all that is left of the sum.
    left = 1e-12 * float(each.norm(dim=1).sum())
    assert float((total - each.sum(dim=0)).norm()) <= 1e-6 * float(each.sum(dim=0).norm()) + left
    if clipped != 0.5:
        assert int((norms > bound).sum()) == clipped * int((norms > 0).sum())


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stays", [1, 2])
def test_in_single_precision(groups: int, stays: int) -> None:
    network = _network(
        [40, 20], linear=True, groups=groups, kinds=["binary", "regression", "multiclass", "ordinal", "binary"]
    )
    problem = _Problem(network, [stays] * 64, missing=0.2, seed=groups, kind=torch.float32)
    gradients = problem.theirs()
    norms = gradients.norm(dim=1)
    bound = float(norms.median())
    expected = (gradients * (bound / norms).clamp(max=1.0)[:, None]).sum(dim=0)
    total, found = problem.ours(bound)
    # From above: what rounding may hide of passes that cancel out is counted in.
    assert bool((found >= (1.0 - 2e-5) * norms).all() and (found <= (1.0 + 2e-4) * norms).all())
    assert float((total - expected).norm()) <= 2e-4 * float(expected.norm())


@settings(max_examples=30, deadline=None)
@given(networks, patients, st.sampled_from([1e-3, 0.1, 10.0]), st.integers(0, 10**6), st.data())
def test_no_patient_moves_the_sum_by_more_than_the_bound(
    network: Network, counts: list[int], bound: float, seed: int, data: st.DataObject
) -> None:
    problem = _Problem(network, counts, missing=0.2, seed=seed, kind=torch.float64)
    last = data.draw(st.integers(0, len(counts) - 1))
    with_one, without = problem.ours(bound, slice(0, last + 1))[0], problem.ours(bound, slice(0, last))[0]
    assert float((with_one - without).norm()) <= bound


def test_stays_that_cancel_out_are_still_bounded() -> None:
    """Two rows with opposite labels: single precision sees little of the norm of their sum."""
    network = _network([8], linear=True, groups=1, kinds=["regression"])
    for seed in range(40):
        problem = _Problem(network, [2], missing=0.0, seed=seed, kind=torch.float32)
        problem.inputs[1] = 1000.0 * problem.inputs[0] + 1e-4
        problem.inputs[0] *= 1000.0
        problem.labels[:] = torch.tensor([[1e6], [-1e6]])
        for bound in (1e-3, 1e-2, 0.1):
            assert float(problem.ours(bound)[0].double().norm()) <= bound


def test_without_patients_the_sum_is_zero() -> None:
    network = _network([4], linear=True, groups=2, kinds=["binary", "binary"])
    problem = _Problem(network, [], missing=0.0, seed=0, kind=torch.float32)
    total, norms = problem.ours(1.0)
    assert not total.any() and total.shape == problem.theta.shape and norms.shape == (0,)


@pytest.mark.parametrize("groups", [1, 3])
def test_dropout_is_that_of_the_network(groups: int) -> None:
    """With the same masks, the unclipped sum is what autograd gives through `Network.logits`."""
    network = _network(
        [7, 5], linear=True, groups=groups, kinds=["binary", "multiclass", "ordinal", "binary"], dropout=0.4
    )
    problem = _Problem(network, [1] * 6, missing=0.1, seed=1, kind=torch.float32)
    loss = MultiTaskLoss(network.layout, problem.mean, problem.std)
    theta = problem.theta.requires_grad_(True)
    logits = network.logits(theta, problem.inputs, dropout=torch.Generator().manual_seed(3))
    (expected,) = torch.autograd.grad(6 * loss(logits, loss.targets(problem.labels, torch.ones(4))), theta)
    source = torch.Generator().manual_seed(3)

    def masks(passes: int, width: int) -> torch.Tensor:
        kept = torch.empty(groups, passes // groups, width).bernoulli_(0.6, generator=source)
        return kept.transpose(0, 1).reshape(passes, width) / 0.6

    total, _ = problem.ours(1e6, dropout=masks)
    assert torch.allclose(total, expected, rtol=1e-4, atol=1e-5)


def test_the_share_of_clipped_patients() -> None:
    assert ClippedSum(torch.zeros(1), torch.tensor([1.0, 2.0, 3.0, 2.5])).share_clipped(2.5) == 0.25
    assert ClippedSum(torch.zeros(1), torch.zeros(0)).share_clipped(2.5) == 0.0


def test_weights_that_hide_a_gradient_from_its_norm_leave_the_patient_out() -> None:
    """Activations so long, and signals so small, that the signals' squares are 0 in single precision."""
    network = _network([8, 4096], linear=False, groups=1, kinds=["binary"])
    layout = network.layout
    start = initial_parameters(layout, seed=0)
    named = layout.split(start)
    named["encoder.0.weight"][:], named["encoder.0.bias"][:] = 0.0, 6e18
    named["encoder.1.weight"][:], named["encoder.1.bias"][:] = 0.0, 1.0
    named["heads.weight"][:] = 2e-20
    output = OutputGradient(layout, torch.zeros(1), torch.ones(1))
    inputs = torch.zeros(1, layout.columns.inputs)
    targets = output.targets(torch.ones(1, 1), torch.ones(1))
    sums = PatientGradients(network, output, 0.01).clipped_sum(
        torch.from_numpy(start), inputs, targets, np.ones(1, dtype=np.int64)
    )
    assert float(torch.linalg.vector_norm(sums.total.double())) <= 0.01
