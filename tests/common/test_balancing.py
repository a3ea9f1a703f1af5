"""Balancing: weights and inner products against brute force, and what each method promises of gradients."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import log_loss
from torch import Tensor

import common
from common.balancing import CombinedGradient, bounded, combination, uncertainty_weights
from common.errors import PlanError, Refusal
from common.losses import MultiTaskLoss, task_weights
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan
from tests.conftest import small_plan
from tests.hourly import hourly_plan

CPU = torch.device("cpu")
METHODS = ("upgrad", "mgda", "pcgrad")
PLANS = {"rows": small_plan, "hours": hourly_plan}
GRADIENTS = arrays(np.float64, st.tuples(st.integers(2, 6), st.just(5)), elements=st.floats(-10, 10, width=16))


class Case:
    """A network with a batch of 30 rows. labels: some are missing."""

    def __init__(self, plan: Plan, seed: int = 1) -> None:
        random = torch.Generator().manual_seed(seed)
        layout = Layout(plan)
        normaliser = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
        self.plan, self.network = plan, Network(layout, CPU)
        self.loss = MultiTaskLoss(layout, *(torch.from_numpy(v) for v in (normaliser.label_mean, normaliser.label_std)))
        self.theta = torch.from_numpy(initial_parameters(layout, seed=seed))
        self.theta += 0.3 * torch.randn(self.theta.shape, generator=random)
        columns = layout.columns
        width = columns.inputs + plan.hours * (len(columns.feature_of_hour) if plan.sequence else 0)
        self.inputs = torch.randn(30, width, generator=random)
        labels = [torch.randint(0, 3 if t.kind == "multiclass" else 2, (30,), generator=random) for t in plan.tasks]
        hours = torch.randint(0, 2, (30, len(plan.hourly) * plan.hours), generator=random)
        self.labels = torch.cat([torch.stack(labels, dim=1), hours], dim=1).float()
        self.labels[torch.rand(self.labels.shape, generator=random) < 0.3] = torch.nan

    def targets(self, weights: Tensor | None = None):
        return self.loss.targets(self.labels, torch.ones(len(self.plan.tasks)) if weights is None else weights)

    def of_one(self, task: int) -> Tensor:
        """(D,) gradient of one task's loss, by a backward pass of its own."""
        theta = self.theta.clone().requires_grad_(True)
        alone = self.targets(torch.eye(len(self.plan.tasks))[task])
        return torch.autograd.grad(self.loss(self.network.logits(theta, self.inputs), alone), theta)[0]

    def at_features(self, task: int) -> Tensor:
        """Gradient of one task's loss at the encoders' outputs, flat, by automatic differentiation."""
        layout, plan = self.network.layout, self.plan
        heads = torch.from_numpy(layout.split(self.theta.numpy())["heads.weight"])
        logits, n = self.network.logits(self.theta, self.inputs), len(self.inputs)
        moved = torch.zeros(n, plan.model.hidden[-1], requires_grad=True)
        state = torch.zeros(n, plan.hours, plan.model.width if plan.sequence else 0, requires_grad=True)
        of_row, of_state = torch.split(heads, [moved.shape[1], state.shape[2]], dim=1)
        last = logits[:, : layout.outputs] + moved @ of_row.T
        if plan.sequence is None:
            parts = [last]
        else:
            mine = np.flatnonzero(np.isin(layout.task_of_output, plan.hourly))
            each = torch.einsum("nhw,kw->nkh", state, of_state[mine]) + (moved @ of_row[mine].T)[:, :, None]
            parts = [last + state[:, -1] @ of_state.T, logits[:, layout.outputs :] + each.flatten(1)]
        loss = self.loss(torch.cat(parts, dim=1), self.targets(torch.eye(len(plan.tasks))[task]))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [moved, state], materialize_grads=True)])

    def combined(self, combine: Callable[[Tensor], Tensor]) -> Tensor:
        return CombinedGradient(self.network, self.loss, combine)(self.theta, self.inputs, self.targets(), dropout=None)

    def products(self) -> Tensor:
        """What `combine` is given."""
        seen: list[Tensor] = []
        self.combined(lambda products: seen.append(products) or torch.ones(len(products), dtype=torch.float64))
        return seen[0]


@pytest.mark.parametrize("kind", PLANS)
def test_inner_products_are_those_of_the_tasks_gradients_at_the_features(kind: str) -> None:
    case = Case(PLANS[kind]())
    gradients = torch.stack([case.at_features(task) for task in range(len(case.plan.tasks))]).double()
    assert torch.allclose(case.products(), gradients @ gradients.T, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("kind", PLANS)
def test_the_encoder_gets_the_weighted_tasks_and_each_head_its_own(kind: str) -> None:
    case, weights = Case(PLANS[kind]()), torch.tensor([0.0, 2.0, 0.5, 3.0])
    gradient = case.combined(lambda products: weights.double())
    each = torch.stack([case.of_one(task) for task in range(4)])
    encoder = torch.from_numpy(case.network.layout.output_of < 0)
    assert torch.allclose(gradient[encoder], (weights @ each)[encoder], atol=1e-6)
    assert torch.allclose(gradient[~encoder], each.sum(dim=0)[~encoder], atol=1e-6)
    assert not torch.allclose((weights @ each)[encoder], each.sum(dim=0)[encoder], atol=1e-3)


@given(GRADIENTS)
def test_upgrad_conflicts_with_no_task(gradients: np.ndarray) -> None:
    rows = torch.from_numpy(gradients[np.abs(gradients).max(axis=1) > 0.1])
    if not len(rows):
        return
    combined = combination("upgrad", 0)(rows @ rows.T) @ rows
    assert float((rows @ combined).min()) >= -1e-4 * float(rows.square().sum())


def test_upgrad_of_two_tasks_of_a_network_that_conflict() -> None:
    """Their sum goes against one of them, what is done instead against neither; and it is not nothing."""
    case = Case(small_plan())
    case.labels[:, 2:] = torch.nan
    case.labels[:, 1] = torch.where(case.labels[:, 0] > 0, -40.0, 40.0)  # what helps death is worst for the stay
    split = case.network.layout.split(case.theta.numpy())  # views
    split["heads.weight"][1] = split["heads.weight"][0]
    rows = torch.stack([case.at_features(task) for task in range(2)]).double()
    weights = combination("upgrad", 0)(case.products())
    assert float((rows @ rows.sum(dim=0)).min()) < -1e-4 < float((rows @ (weights @ rows)).min())
    assert float((weights @ rows).norm()) > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_gradients_that_do_not_conflict_are_summed(method: str) -> None:
    combine = combination(method, 0)
    assert torch.allclose(combine(torch.eye(4, dtype=torch.float64)), torch.ones(4, dtype=torch.float64), atol=1e-6)
    assert combine(torch.full((1, 1), 0.3, dtype=torch.float64)).tolist() == [pytest.approx(1.0)]


def test_pcgrad_repeats_by_its_seed_and_leaves_torchs_own_generator_alone() -> None:
    rows = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = torch.get_rng_state()
    runs = []
    for seed in (1, 1, 2):
        combine = combination("pcgrad", seed)
        runs.append(torch.stack([combine(rows @ rows.T) for _ in range(5)]))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0][0], runs[0][1])


def test_a_task_without_labels_in_a_batch_is_not_in_the_combination() -> None:
    case = Case(small_plan())
    case.labels[:, 0] = torch.nan
    assert case.products().shape == (3, 3)
    layout = case.network.layout
    gradient = case.combined(combination("mgda", 0))
    assert not gradient[torch.from_numpy(np.isin(layout.output_of, np.flatnonzero(layout.task_of_output == 0)))].any()
    assert gradient[torch.from_numpy(layout.output_of < 0)].any()


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_without_any_label_has_no_gradient(method: str) -> None:
    case = Case(small_plan())
    case.labels[:] = torch.nan
    assert not case.combined(combination(method, 0)).any()


def test_what_is_not_finite_is_left_to_the_check_of_the_update() -> None:
    case = Case(small_plan())
    case.inputs[0] = torch.inf
    assert not case.combined(combination("upgrad", 0)).isfinite().all()


def test_uncertainty_weighs_by_the_mean_loss_of_the_labelled_rows() -> None:
    case = Case(small_plan())
    case.labels[:, 2] = torch.nan
    weights = uncertainty_weights(case.network, case.loss, case.theta, case.inputs, case.labels)
    logits = case.network.logits(case.theta, case.inputs)
    for task, column in ((0, 0), (3, 5)):
        known = ~case.labels[:, task].isnan()
        expected = log_loss(case.labels[known, task].numpy(), torch.sigmoid(logits[known, column].double()).numpy())
        assert weights[task] == pytest.approx(0.5 / expected, rel=1e-4)
    assert weights[2] == 1.0 and weights.dtype == np.float32


def test_a_task_counts_by_uncertainty_at_most_as_it_may_in_plain_training() -> None:
    labelled = np.zeros((100, 2), dtype=bool)
    labelled[:, 0], labelled[0, 1] = True, True
    weights = task_weights(labelled)
    assert bounded(weights * np.array([0.5, 1e4], dtype=np.float32)).tolist() == [0.5, weights.max()]


def test_only_a_plan_that_uses_it_has_another_hash(make_plan: Callable[..., Plan]) -> None:
    plain = make_plan()
    assert (
        make_plan(training={"balancing": "plain"}).canonical == plain.canonical and b"balancing" not in plain.canonical
    )
    others = {make_plan(training={"balancing": name}).hash for name in ("uncertainty", *METHODS)}
    assert len(others | {plain.hash}) == 5


@pytest.mark.parametrize("method", ["uncertainty", *METHODS])
def test_noise_for_patients_and_balancing_contradict_each_other(make_plan: Callable[..., Plan], method: str) -> None:
    with pytest.raises(PlanError, match=rf"balancing = '{method}' contradicts privacy.unit = 'patient'"):
        make_plan(training={"balancing": method}, privacy={"unit": "patient", "target_epsilon": 4.0})


@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_encoder_leaves_nothing_to_combine(make_plan: Callable[..., Plan], method: str) -> None:
    start = {"vector": "0" * 64, "freeze_encoder": True}
    with pytest.raises(PlanError, match=r"nothing to do with start\.freeze_encoder"):
        make_plan(training={"balancing": method}, start=start)
    assert make_plan(training={"balancing": "uncertainty"}, start=start).frozen


def test_without_torchjd_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(common, "aggregators", raising=False)
    monkeypatch.setitem(sys.modules, "common.aggregators", None)
    with pytest.raises(Refusal, match=r"'mgda' needs torchjd.*pip install 'consilium\[balancing\]'") as refused:
        combination("mgda", 0)
    assert refused.value.code == "extra_missing"
