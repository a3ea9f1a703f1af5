"""Training under each way of balancing: repeatable, plain where nothing is to balance, tasks without labels at rest."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import common
from client.config import find_sites
from client.training.trainer import Trainer, TrainingSet, batch_generator
from common.errors import Refusal, RunError
from common.model import Layout, Network, Normaliser, initial_parameters
from common.penalty import l2_penalty
from common.plan import Plan
from experiments.simulate import simulate
from tests.conftest import small_content

CPU = torch.device("cpu")
GRADIENTS = ("upgrad", "mgda", "pcgrad")
METHODS = ("uncertainty", *GRADIENTS)


def _trainer(plan: Plan) -> Trainer:
    normaliser = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
    return Trainer(Network(Layout(plan), CPU), replace(normaliser, rows=50.0))


def _data(layout: Layout, *, rows: int = 64) -> TrainingSet:
    random = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 2, (rows, len(layout.plan.tasks)), generator=random).float()
    labels[torch.rand(labels.shape, generator=random) < 0.3] = torch.nan
    return TrainingSet(torch.randn(rows, layout.columns.inputs, generator=random), labels)


def _train(plan: Plan, data: TrainingSet | None = None, seed: int = 1) -> np.ndarray:
    layout = Layout(plan)
    generator = batch_generator(seed, "north", 1, CPU)
    start = initial_parameters(layout, seed=0)
    return _trainer(plan).train(start, data or _data(layout), generator=generator, rate=0.05)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("method", METHODS)
def test_same_seed_gives_the_same_bits(make_plan: Callable[..., Plan], method: str, optimizer: str) -> None:
    plan = make_plan(training={"balancing": method, "optimizer": optimizer})
    runs = [_train(plan, seed=seed) for seed in (1, 1, 2)]
    assert runs[0].tobytes() == runs[1].tobytes() != runs[2].tobytes()
    assert np.isfinite(runs[0]).all()
    assert np.abs(runs[0] - _train(make_plan(training={"optimizer": optimizer}))).max() > 1e-4


@pytest.mark.parametrize("method", GRADIENTS)
def test_with_one_task_they_are_plain_training(make_plan: Callable[..., Plan], method: str) -> None:
    tasks = small_content()["tasks"][:1]
    plain = _train(make_plan(tasks=tasks))
    assert _train(make_plan(tasks=tasks, training={"balancing": method})).tobytes() == plain.tobytes()


def test_a_step_of_plain_training_is_the_gradient_of_the_summed_losses(make_plan: Callable[..., Plan]) -> None:
    """To the last bit: nothing that balances stands in its way."""
    one = {"local_epochs": 1, "min_local_steps": 1, "momentum": 0.0, "batch_size": 64}
    plan = make_plan(training=one, model={"dropout": 0.0})
    trainer, layout, generator = _trainer(plan), Layout(plan), batch_generator(1, "north", 1, CPU)
    data, theta = _data(layout), torch.from_numpy(initial_parameters(layout, seed=0)).requires_grad_(True)
    order = torch.randperm(64, generator=generator)
    weight = torch.from_numpy(trainer._task_weights(theta, data))
    loss = trainer.loss(
        trainer.network.logits(theta, data.inputs[order]), trainer.loss.targets(data.labels[order], weight)
    )
    (gradient,) = torch.autograd.grad(loss, theta)
    expected = theta.add(
        torch.addcmul(gradient, torch.from_numpy(l2_penalty(layout, trainer.normaliser.rows)), theta), alpha=-0.05
    )
    assert _train(plan, data).tobytes() == expected.detach().numpy().tobytes()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("method", METHODS)
def test_a_task_without_labels_keeps_its_head(make_plan: Callable[..., Plan], method: str, optimizer: str) -> None:
    plan = make_plan(training={"balancing": method, "optimizer": optimizer, "l2_linear": 90.0, "l2_network": 90.0})
    layout = Layout(plan)
    data = _data(layout)
    data.labels[:, 2] = torch.nan
    start, trained = initial_parameters(layout, seed=0), _train(plan, data)
    own = np.isin(layout.output_of, np.flatnonzero(layout.task_of_output == 2))
    assert trained[own].tobytes() == start[own].tobytes()
    assert (trained != start)[~own].mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_without_a_task_s_labels_leaves_its_head(make_plan: Callable[..., Plan], method: str) -> None:
    """The first rows have labels of one task alone, the last batch of none: all that moves stays finite."""
    plan = make_plan(training={"balancing": method, "batch_size": 1, "local_epochs": 1})
    data = _data(Layout(plan), rows=12)
    data.labels[:8, 1:] = torch.nan
    data.labels[8:] = torch.nan
    trained, start = _train(plan, data), initial_parameters(Layout(plan), seed=0)
    output = Layout(plan).output_of
    others = np.isin(output, np.flatnonzero(Layout(plan).task_of_output > 0))
    assert trained[others].tobytes() == start[others].tobytes()
    assert np.isfinite(trained).all() and (trained != start)[~others].any()


@pytest.mark.parametrize("method", METHODS)
def test_a_federation_runs(
    make_plan: Callable[..., Plan], write_sites: Callable[..., Path], tmp_path: Path, method: str
) -> None:
    plan = make_plan(training={"balancing": method, "rounds": 1})
    result = simulate(plan, find_sites(write_sites()), tmp_path / "run")
    assert 0.0 <= result["tasks"]["death"]["pooled"]["auroc"] <= 1.0


def test_without_torchjd_a_run_ends_before_it_has_a_folder_and_a_site_refuses(
    make_plan: Callable[..., Plan],
    write_sites: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(common, "aggregators", raising=False)
    monkeypatch.setitem(sys.modules, "common.aggregators", None)
    sites = find_sites(write_sites())
    with pytest.raises(Refusal, match=r"pip install 'consilium\[balancing\]'"):
        simulate(make_plan(training={"balancing": "upgrad"}), sites, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("experiments.simulate.require_extra", lambda plan: None)  # as a coordinator that has it
    with pytest.raises(RunError, match="node 1: extra_missing"):
        simulate(make_plan(training={"balancing": "upgrad"}), sites, tmp_path / "refused")
    for balancing in ("plain", "uncertainty"):  # these need nothing
        simulate(make_plan(training={"balancing": balancing, "rounds": 1}), sites, tmp_path / balancing)
