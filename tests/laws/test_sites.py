"""Laws of a round: whose update moves what, and in which order does not matter."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from client.config import find_sites, load_site
from client.ledger.receipts import Step
from client.request import Request
from client.session import Session
from client.training.trainer import Trainer, TrainingSet
from client.work import train
from common.broadcast import Broadcast
from common.evaluation import first_edges
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan
from common.privacy import clip_by_norm
from experiments.simulate import simulate
from server.journal import RunState
from tests.conftest import small_table
from tests.laws.asserts import assert_head_is_unchanged, assert_order_of_sites_is_irrelevant


def test_order_of_sites_is_irrelevant(plan: Plan, write_sites: Callable[..., Path], tmp_path: Path) -> None:
    sites = find_sites(write_sites())

    def run(order: Sequence[int]) -> Path:
        out = tmp_path / "".join(map(str, order))
        simulate(plan, [sites[i] for i in order], out)
        return out / "model.safetensors"

    assert_order_of_sites_is_irrelevant(run, [(0, 1, 2), (2, 0, 1), (1, 2, 0)])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("task", ["death", "stay", "triage", "pressure"])
@pytest.mark.parametrize("proximal_mu", [0.0, 0.5])
def test_unlabelled_task_leaves_head_unchanged(
    make_plan: Callable[..., Plan], optimizer: str, task: str, proximal_mu: float
) -> None:
    plan = make_plan(
        training={"optimizer": optimizer, "proximal_mu": proximal_mu},
        aggregation={"strategy": "fedprox" if proximal_mu else "fedavg"},
    )
    layout = Layout(plan)
    random = torch.Generator().manual_seed(1)
    labels = torch.ones(50, 4)
    labels[:, [t.name for t in plan.tasks].index(task)] = torch.nan
    normaliser = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
    data = TrainingSet(torch.randn(50, layout.columns.inputs, generator=random), labels)
    start = np.random.default_rng(0).normal(size=layout.parameters).astype(np.float32)
    trained = Trainer(Network(layout, torch.device("cpu")), normaliser).train(start, data, generator=random, rate=0.1)
    assert_head_is_unchanged(layout, task, start, trained)


def test_task_labelled_nowhere_keeps_its_head_through_a_run(
    plan: Plan, write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    tables = {name: small_table(i).assign(died=np.nan) for i, name in enumerate(("a", "b", "c"))}
    result = simulate(plan, find_sites(write_sites(**tables)), tmp_path / "out")
    assert "death" in result["left_out"]["tasks"] and "death" not in result["tasks"]
    state = RunState.from_bytes((tmp_path / "out" / "checkpoint.safetensors").read_bytes(), source="")
    layout = Layout(plan)
    assert_head_is_unchanged(layout, "death", initial_parameters(layout, seed=0), state.arrays["parameters"])


def test_task_of_one_site_moves_by_its_update_alone(
    make_plan: Callable[..., Plan], write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    plan = make_plan(aggregation={"min_task_sites": 1}, training={"rounds": 1})
    tables = {name: small_table(i) for i, name in enumerate(("a", "b", "c"))}
    for name in ("a", "c"):
        tables[name] = tables[name].drop(columns="died")
    out = tmp_path / "out"
    simulate(plan, find_sites(write_sites(**tables)), out)
    state = RunState.from_bytes((out / "checkpoint.safetensors").read_bytes(), source="")

    layout = Layout(plan)
    start = initial_parameters(layout, seed=0)
    normaliser = Normaliser.from_vector(state.arrays["normaliser"], plan)
    edges = first_edges(layout.outputs, bins=plan.evaluation.round_bins)
    request = Request(Step(plan.hash, "train", 1, 0), Broadcast(start, normaliser, edges).to_vector())
    release = train(Session(load_site(out / "sites" / "b" / "site.toml"), plan), request)
    clipped, _, _ = clip_by_norm(release.delta, clip_norm=plan.aggregation.clip_norm)

    own = layout.block_of == layout.block_names.index("task:death")
    assert np.abs(clipped[own]).max() > 0
    assert np.allclose(state.arrays["parameters"][own], start[own] + clipped[own], rtol=1e-6, atol=1e-8)


def test_feature_that_a_site_lacks_is_moved_by_the_others_alone(
    make_plan: Callable[..., Plan], write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    plan = make_plan(aggregation={"min_task_sites": 1}, training={"rounds": 1})
    tables = {name: small_table(i) for i, name in enumerate(("a", "b", "c"))}
    tables["a"]["smoker"] = np.nan
    out = tmp_path / "out"
    simulate(plan, find_sites(write_sites(**tables)), out)
    layout = Layout(plan)
    normaliser_file = RunState.from_bytes((out / "checkpoint.safetensors").read_bytes(), source="").arrays
    own = layout.block_of == layout.block_names.index("input:smoker")
    start = initial_parameters(layout, seed=0)
    edges = first_edges(layout.outputs, bins=plan.evaluation.round_bins)
    broadcast = Broadcast(start, Normaliser.from_vector(normaliser_file["normaliser"], plan), edges)
    request = Request(Step(plan.hash, "train", 1, 0), broadcast.to_vector())
    releases = [train(Session(load_site(out / "sites" / n / "site.toml"), plan), request) for n in ("a", "b", "c")]
    assert not releases[0].weights[own].any()
    weights = np.array([release.weights[own] for release in releases[1:]], dtype=np.float64)
    steps = np.array([clip_by_norm(r.delta, clip_norm=0.5)[0][own] for r in releases[1:]], dtype=np.float64)
    expected = start[own] + (weights * steps).sum(0) / weights.sum(0)
    assert np.allclose(normaliser_file["parameters"][own], expected, rtol=1e-6, atol=1e-8)
