"""Local training: repeatable, equal to torch's own optimisers, and the same on a GPU where there is one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from client.training.trainer import Trainer, TrainingSet, batch_generator
from common.losses import MultiTaskLoss, task_weights
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan

CPU = torch.device("cpu")


def _data(layout: Layout, *, rows: int = 64, missing: float = 0.0) -> TrainingSet:
    random = torch.Generator().manual_seed(5)
    binary = torch.randint(0, 2, (rows, 1), generator=random).float()
    value = 10 * torch.rand(rows, 1, generator=random)
    level = torch.randint(0, 3, (rows, 1), generator=random).float()
    labels = torch.cat([binary, value, level, 1 - binary], dim=1)
    labels[torch.rand(labels.shape, generator=random) < missing] = torch.nan
    return TrainingSet(torch.randn(rows, layout.columns.inputs, generator=random), labels)


def _trainer(plan: Plan, device: torch.device = CPU) -> Trainer:
    normaliser = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
    return Trainer(Network(Layout(plan), device), replace(normaliser, rows=50.0))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_same_seed_gives_the_same_bits(make_plan: Callable[..., Plan], optimizer: str) -> None:
    plan = make_plan(training={"optimizer": optimizer})
    trainer, start = _trainer(plan), initial_parameters(Layout(plan), seed=0)
    data = _data(trainer.network.layout, missing=0.3)
    runs = [
        trainer.train(start, data, generator=batch_generator(seed, "north", 1, CPU), rate=0.05) for seed in (1, 1, 2)
    ]
    assert runs[0].tobytes() == runs[1].tobytes() != runs[2].tobytes()
    assert np.isfinite(runs[0]).all()


def test_sites_and_rounds_draw_differently() -> None:
    draws = {
        (site, number): torch.rand(1, generator=batch_generator(0, site, number, CPU)).item()
        for site in ("north", "south")
        for number in (1, 2)
    }
    assert len(set(draws.values())) == 4


@pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("adamw", 0.0)])
def test_training_equals_torch_optim(make_plan: Callable[..., Plan], optimizer: str, momentum: float) -> None:
    """One flat tensor with our step against torch.optim on the same loss, batches in the same order, no dropout."""
    plan = make_plan(
        training={"optimizer": optimizer, "momentum": momentum, "local_epochs": 3, "l2_linear": 2.0, "l2_network": 2.0},
        model={"hidden": [8], "dropout": 0.0},
    )
    trainer, layout = _trainer(plan), Layout(plan)
    data, start = _data(layout), initial_parameters(layout, seed=0)
    ours = trainer.train(start, data, generator=torch.Generator().manual_seed(3), rate=0.02)

    decayed = np.zeros(layout.parameters, dtype=bool)
    for name, part in layout.split(decayed).items():
        part[:] = name.endswith("weight")
    weights, biases = (nn.Parameter(torch.from_numpy(start[mask])) for mask in (decayed, ~decayed))
    groups = [{"params": [weights], "weight_decay": 2.0 / 50.0}, {"params": [biases], "weight_decay": 0.0}]
    step = (
        torch.optim.SGD(groups, lr=0.02, momentum=momentum)
        if optimizer == "sgd"
        else torch.optim.AdamW(groups, lr=0.02)
    )
    loss = MultiTaskLoss(layout, trainer.loss.label_mean, trainer.loss.label_std)
    task_weight, chance = torch.from_numpy(task_weights(data.labelled)), torch.Generator().manual_seed(3)
    places = [torch.from_numpy(np.flatnonzero(mask)) for mask in (decayed, ~decayed)]
    for _ in range(3):
        order = torch.randperm(64, generator=chance)
        for batch in order.split(plan.training.batch_size):
            flat = torch.zeros(layout.parameters).index_copy(0, places[0], weights).index_copy(0, places[1], biases)
            step.zero_grad()
            targets = loss.targets(data.labels[batch], task_weight)
            loss(trainer.network.logits(flat, data.inputs[batch]), targets).backward()
            step.step()
    theirs = np.zeros(layout.parameters, dtype=np.float32)
    theirs[decayed], theirs[~decayed] = weights.detach().numpy(), biases.detach().numpy()
    assert np.abs(ours - start).max() > 0.01
    assert np.allclose(ours, theirs, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_frozen_keeps_every_bit_and_the_rest_moves(make_plan: Callable[..., Plan], optimizer: str) -> None:
    """Also under momentum, decay and the pull towards the model received."""
    rules = {"optimizer": optimizer, "l2_network": 50.0, "proximal_mu": 0.1}
    plan = make_plan(training=rules, aggregation={"strategy": "fedprox"})
    layout, start = Layout(plan), initial_parameters(Layout(plan), seed=0)
    frozen = layout.output_of < 0
    trainer = replace(_trainer(plan), frozen=frozen)
    trained = trainer.train(start, _data(layout, missing=0.3), generator=batch_generator(0, "n", 1, CPU), rate=0.05)
    assert trained[frozen].tobytes() == start[frozen].tobytes() and (trained != start)[~frozen].mean() > 0.9


def test_proximal_term_pulls_towards_the_model_received(make_plan: Callable[..., Plan]) -> None:
    moves = []
    for mu in (0.0, 5.0):
        aggregation = {"strategy": "fedprox" if mu else "fedavg"}
        plan = make_plan(training={"proximal_mu": mu, "l2_linear": 0.0, "l2_network": 0.0}, aggregation=aggregation)
        start = initial_parameters(Layout(plan), seed=0)
        trained = _trainer(plan).train(start, _data(Layout(plan)), generator=batch_generator(0, "n", 1, CPU), rate=0.03)
        moves.append(np.linalg.norm(trained - start))
    assert moves[1] < 0.9 * moves[0]


def test_excluded_feature_has_no_effect_on_its_task_and_on_others_it_has(plan: Plan) -> None:
    layout = Layout(plan)
    network = Network(layout, CPU)
    parameters = torch.from_numpy(np.random.default_rng(0).normal(size=layout.parameters).astype(np.float32))
    inputs = torch.randn(20, layout.columns.inputs)
    changed = inputs.clone()
    changed[:, np.flatnonzero(layout.columns.feature_of == plan.feature_index["sbp"])] += 1.0
    before, after = network.logits(parameters, inputs), network.logits(parameters, changed)
    pressure = int(np.flatnonzero(layout.task_of_output == 3)[0])
    assert torch.equal(before[:, pressure], after[:, pressure])
    assert not torch.allclose(before[:, 0], after[:, 0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_gpu_trains_the_same_model(make_plan: Callable[..., Plan], optimizer: str) -> None:
    plan = make_plan(training={"optimizer": optimizer, "batch_size": 64}, model={"hidden": [8], "dropout": 0.0})
    layout, start = Layout(plan), initial_parameters(Layout(plan), seed=0)
    gpu, data = torch.device("cuda:0"), _data(layout)
    on_gpu = TrainingSet(data.inputs.to(gpu), data.labels.to(gpu))
    results = [
        _trainer(plan, device).train(start, rows, generator=torch.Generator(device=device).manual_seed(1), rate=0.03)
        for device, rows in ((CPU, data), (gpu, on_gpu))
    ]
    assert np.allclose(*results, rtol=1e-3, atol=1e-4)  # one full batch: its order does not matter


@pytest.mark.parametrize(
    ("rows", "least", "steps"), [(5, 10, 10), (64, 10, 10), (64, 1, 8), (100, 30, 30), (64, 9, 9), (17, 1, 4)]
)
def test_a_small_site_takes_as_many_steps(
    make_plan: Callable[..., Plan], rows: int, least: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(training={"batch_size": 16, "local_epochs": 2, "min_local_steps": least})
    trainer, start = _trainer(plan), initial_parameters(Layout(plan), seed=0)
    seen: list[int] = []
    logits = Network.logits

    def counted(self: Network, theta: torch.Tensor, inputs: torch.Tensor, **more: object) -> torch.Tensor:
        seen.append(len(inputs))
        return logits(self, theta, inputs, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Network, "logits", counted)
    trainer.train(start, _data(Layout(plan), rows=rows), generator=torch.Generator().manual_seed(1), rate=0.01)
    assert len(seen) == steps
    each = -(-rows // 16)
    assert max(seen[:each]) - min(seen[:each]) <= 1 and max(seen) <= 16 and sum(seen[:each]) == rows
    assert seen == (seen[:each] * steps)[:steps]  # pass after pass, the last one in part
