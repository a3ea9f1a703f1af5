"""Rounds over a wire: what moves in the model, what rests, and how a run goes on after it was cut off."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.config import find_sites, load_site
from client.ledger.file import LEDGER
from client.ledger.reading import read_receipts
from client.ledger.receipts import Step
from client.release import Update
from client.request import Request
from client.session import Session
from client.work import train
from common.broadcast import Broadcast
from common.errors import RunError, TooFewSites
from common.evaluation import first_edges
from common.model import Layout, Normaliser
from common.plan import Plan
from common.privacy import clip_by_norm
from experiments.simulate import simulate
from server.journal import EVENTS, RunState
from tests.conftest import small_table
from tests.laws.asserts import assert_head_is_unchanged
from tests.messages import refuse
from tests.server.rounds import Wire, own_entries, small_tables


def _first_updates(plan: Plan, out: Path, surveyed: RunState) -> dict[str, Update]:
    """site -> what its training gives in round 1 before the door, computed again outside the run."""
    layout = Layout(plan)
    edges = first_edges(layout.outputs, bins=plan.evaluation.round_bins)
    normaliser = Normaliser.from_vector(surveyed.arrays["normaliser"], plan)
    vector = Broadcast(surveyed.arrays["parameters"], normaliser, edges).to_vector()
    request = Request(Step(plan.hash, "train", 1, 0), vector)
    tomls = sorted((out / "sites").glob("*/site.toml"))
    return {toml.parent.name: train(Session(load_site(toml), plan), request) for toml in tomls}


def test_task_rests_in_a_round_that_too_few_of_its_sites_reach(plan, write_sites, tmp_path, wire, states) -> None:
    wire.change("south", "train", 2, refuse)
    simulate(plan, find_sites(write_sites(**small_tables(west="died"))), tmp_path / "out")
    layout = Layout(plan)
    surveyed, first, second, third = (state.arrays["parameters"] for state in states)
    own = own_entries(layout, "task:death")
    assert_head_is_unchanged(layout, "death", first, second)
    assert not np.array_equal(surveyed[own], first[own]) and not np.array_equal(second[own], third[own])
    stay = own_entries(layout, "task:stay")  # two of its three sites are left
    assert not np.array_equal(first[stay], second[stay])


def test_encoder_moves_with_min_sites_whatever_min_task_sites_says(
    make_plan, write_sites, tmp_path: Path, wire: Wire, states: list[RunState]
) -> None:
    plan = make_plan(aggregation={"min_sites": 2, "min_task_sites": 3}, model={"hidden": [8, 4]})
    wire.change("south", "train", 2, refuse)
    simulate(plan, find_sites(write_sites(**small_tables())), tmp_path / "out")
    first, second = (state.arrays["parameters"] for state in states[1:3])
    shared = own_entries(Layout(plan), "shared")
    assert not np.array_equal(first[shared], second[shared])
    assert first[~shared].tobytes() == second[~shared].tobytes()


def test_site_sends_nothing_for_blocks_that_were_left_out(make_plan, write_sites, tmp_path, wire, states) -> None:
    plan = make_plan(training={"rounds": 1})
    out, layout = tmp_path / "out", Layout(plan)
    tables = small_tables(south="died", west="died")
    for name in ("south", "west"):
        tables[name]["smoker"] = np.nan
    simulate(plan, find_sites(write_sites(**tables)), out)
    release, sent = _first_updates(plan, out, states[0])["north"], wire.updates["north", 1]
    levels = Session(load_site(out / "sites" / "north" / "site.toml"), plan).levels
    for block in (name for name in layout.block_names if not name.startswith("mean:")):
        own, left_out = own_entries(layout, block), block in ("task:death", "input:smoker")
        assert levels[block] > 0
        assert np.unique(release.weights[own]).tolist() == [0.0 if left_out else levels[block]]
        assert sent[: layout.parameters][own].any() != left_out


def test_norms_are_those_of_the_updates(make_plan, write_sites, tmp_path: Path, states: list[RunState]) -> None:
    """One site's update is longer than the clip norm, the others' are not."""
    tables = {"north": small_table(0, rows=300), "south": small_table(1, rows=60), "west": small_table(2, rows=60)}
    clip = 1.5
    plan = make_plan(training={"rounds": 1, "min_local_steps": 1}, aggregation={"clip_norm": clip})
    out = tmp_path / "out"
    entry = simulate(plan, find_sites(write_sites(**tables)), out)["history"][0]
    updates = _first_updates(plan, out, states[0])
    before = {site: float(np.linalg.norm(update.delta.astype(np.float64))) for site, update in updates.items()}
    after = {site: min(norm, clip) for site, norm in before.items()}
    assert before["north"] > 1.2 * clip and max(before["south"], before["west"]) < clip
    for site in updates:
        (receipt,) = (r for r in read_receipts(out / "sites" / site / LEDGER) if r["release"] == "update")
        assert receipt["norm_before_clip"] == pytest.approx(before[site])
        assert receipt["norm_after_clip"] == pytest.approx(after[site], rel=1e-5)
        assert receipt["details"]["norm_released"] < receipt["norm_after_clip"]  # a level below 1 shortens it once more
    assert entry["norm_before_clip"] == pytest.approx(np.mean(list(before.values())), rel=1e-5)
    assert entry["norm_after_clip"] == pytest.approx(np.mean(list(after.values())), rel=1e-5)
    assert entry["clipped_fraction"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("strategy", ["fedmedian", "fedtrimmedavg", "krum"])
def test_task_of_one_site_moves_by_its_own_step_under_a_robust_strategy(
    strategy: str, make_plan, write_sites, tmp_path: Path, states: list[RunState]
) -> None:
    rules = {"strategy": strategy, "min_sites": 3, "min_task_sites": 1}
    plan = make_plan(aggregation=rules, training={"rounds": 1})
    out, own = tmp_path / "out", own_entries(Layout(plan), "task:death")
    simulate(plan, find_sites(write_sites(**small_tables(north="died", west="died"))), out)
    update = _first_updates(plan, out, states[0])["south"]
    step, _, _ = clip_by_norm(update.delta, clip_norm=plan.aggregation.clip_norm)
    start, end = (state.arrays["parameters"][own] for state in states)
    assert np.abs(end - start).max() > 1e-4
    assert np.allclose(end, start + step[own], rtol=1e-6, atol=1e-8)


def _without_seconds(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "seconds"}


def test_resuming_a_finished_run_gives_the_same_result(make_plan, write_sites, tmp_path: Path) -> None:
    plan, sites, out = make_plan(training={"rounds": 2}), find_sites(write_sites()), tmp_path / "out"
    result = simulate(plan, sites, out)
    model, told = (out / "model.safetensors").read_bytes(), []
    released = [len(read_receipts(out / "sites" / site.name / LEDGER)) for site in sites]
    assert simulate(plan, sites, out, resume=True, listeners=(told.append,)) == result
    assert told == [] and [len(read_receipts(out / "sites" / site.name / LEDGER)) for site in sites] == released
    (out / "result.json").unlink()  # cut off before the last file: evaluated again, and the same
    again = simulate(plan, sites, out, resume=True, listeners=(told.append,))
    assert _without_seconds(again) == _without_seconds(result)
    assert (out / "model.safetensors").read_bytes() == model
    assert "round" not in {event["event"] for event in told}


@pytest.mark.parametrize("finished", [True, False])
def test_other_hospitals_cannot_join_a_run_that_resumes(
    finished: bool, make_plan, write_sites, tmp_path: Path, wire: Wire
) -> None:
    plan, out = make_plan(training={"rounds": 2}), tmp_path / "out"
    sites = find_sites(write_sites(**small_tables(), east=small_table(7)))
    east, *first = sites
    if finished:
        simulate(plan, first, out)
    else:
        for site in ("south", "west"):
            wire.change(site, "train", 2, refuse)
        with pytest.raises(TooFewSites):
            simulate(plan, first, out)
    files = {path: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != EVENTS}
    for others in ([east, *first], [east, *first[1:]]):
        with pytest.raises(RunError, match=r"this run began with north, south, west; east cannot join"):
            simulate(plan, others, out, resume=True)
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != EVENTS} == files
