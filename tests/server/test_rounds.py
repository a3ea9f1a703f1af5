"""Rounds over a wire that can be tampered with: what moves, what stays, who is left out, and how a run goes on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from numpy.lib import format as npy

from client.app import app
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
from server.journal import EVENTS, Journal, RunState
from tests.conftest import small_table
from tests.laws.asserts import assert_head_is_unchanged, assert_same_model

Reply = Callable[[Message, Message], Message]


@dataclass
class Wire:
    """Between coordinator and sites: keeps what sites send in training, and has replies exchanged for others."""

    changes: dict[tuple[str, str, int], Reply] = field(default_factory=dict)
    updates: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def change(self, site: str, kind: str, number: int, reply: Reply) -> None:
        """`site` answers messages of `kind` in round `number` with reply(message, honest reply)."""
        self.changes[site, kind, number] = reply

    def __call__(self, message: Message, context: Context) -> Message:
        site = Path(str(context.node_config["site-config"])).parent.name
        kind, number = message.metadata.message_type, int(message.content["header"]["round"])
        reply = app(message, context)
        if kind == "train":
            self.updates[site, number] = reply.content["arrays"]["vector"].numpy()
        change = self.changes.get((site, kind, number))
        return reply if change is None else change(message, reply)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr("experiments.simulate.app", wire)
    return wire


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[RunState]:
    """Every state that a run commits: the survey's, then one per round."""
    states, commit = [], Journal.commit

    def keep(self: Journal, state: RunState) -> None:
        states.append(state)
        commit(self, state)

    monkeypatch.setattr(Journal, "commit", keep)
    return states


def _tables(**lacking: str | list[str]) -> dict[str, Any]:
    """Three small tables; lacking: site -> columns that it does not have."""
    names = ("north", "south", "west")
    return {name: small_table(seed).drop(columns=lacking.get(name, [])) for seed, name in enumerate(names)}


def _fail(message: Message, _: Message) -> Message:
    return Message(Error(code=199, reason="site_error: The site failed."), reply_to=message)


def _own(layout: Layout, block: str) -> np.ndarray:
    own = layout.block_of == layout.block_names.index(block)
    assert own.any()
    return own


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
    wire.change("south", "train", 2, _fail)
    simulate(plan, find_sites(write_sites(**_tables(west="died"))), tmp_path / "out")
    layout = Layout(plan)
    surveyed, first, second, third = (state.arrays["parameters"] for state in states)
    own = _own(layout, "task:death")
    assert_head_is_unchanged(layout, "death", first, second)
    assert not np.array_equal(surveyed[own], first[own]) and not np.array_equal(second[own], third[own])
    stay = _own(layout, "task:stay")  # two of its three sites are left
    assert not np.array_equal(first[stay], second[stay])


def test_encoder_moves_with_min_sites_whatever_min_task_sites_says(
    make_plan, write_sites, tmp_path: Path, wire: Wire, states: list[RunState]
) -> None:
    plan = make_plan(aggregation={"min_sites": 2, "min_task_sites": 3}, model={"hidden": [8, 4]})
    wire.change("south", "train", 2, _fail)
    simulate(plan, find_sites(write_sites(**_tables())), tmp_path / "out")
    first, second = (state.arrays["parameters"] for state in states[1:3])
    shared = _own(Layout(plan), "shared")
    assert not np.array_equal(first[shared], second[shared])
    assert first[~shared].tobytes() == second[~shared].tobytes()


def test_site_sends_nothing_for_blocks_that_were_left_out(make_plan, write_sites, tmp_path, wire, states) -> None:
    plan = make_plan(training={"rounds": 1})
    out, layout = tmp_path / "out", Layout(plan)
    tables = _tables(south="died", west="died")
    for name in ("south", "west"):
        tables[name]["smoker"] = np.nan
    simulate(plan, find_sites(write_sites(**tables)), out)
    release, sent = _first_updates(plan, out, states[0])["north"], wire.updates["north", 1]
    levels = Session(load_site(out / "sites" / "north" / "site.toml"), plan).levels
    for block in (name for name in layout.block_names if not name.startswith("mean:")):
        own, left_out = _own(layout, block), block in ("task:death", "input:smoker")
        assert levels[block] > 0
        assert np.unique(release.weights[own]).tolist() == [0.0 if left_out else levels[block]]
        assert sent[: layout.parameters][own].any() != left_out


def test_norms_are_those_of_the_updates(make_plan, write_sites, tmp_path: Path, states: list[RunState]) -> None:
    """One site's update is longer than the clip norm, the others' are not."""
    tables = {"north": small_table(0, rows=300), "south": small_table(1, rows=60), "west": small_table(2, rows=60)}
    clip = 1.5
    plan = make_plan(training={"rounds": 1}, aggregation={"clip_norm": clip})
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
    out, own = tmp_path / "out", _own(Layout(plan), "task:death")
    simulate(plan, find_sites(write_sites(**_tables(north="died", west="died"))), out)
    update = _first_updates(plan, out, states[0])["south"]
    step, _, _ = clip_by_norm(update.delta, clip_norm=plan.aggregation.clip_norm)
    start, end = (state.arrays["parameters"][own] for state in states)
    assert np.abs(end - start).max() > 1e-4
    assert np.allclose(end, start + step[own], rtol=1e-6, atol=1e-8)


def _vector(change: Callable[[np.ndarray, int, Plan], np.ndarray]) -> Callable[[Plan], Reply]:
    """A reply with one array: what `change` makes of the honest vector; D, the length of its update, and the plan."""

    def reply(message: Message, honest: Message, plan: Plan) -> Message:
        vector = honest.content["arrays"]["vector"].numpy().copy()
        return _with(message, vector=Array(change(vector, Layout(plan).parameters, plan)))

    return lambda plan: lambda message, honest: reply(message, honest, plan)


def _with(message: Message, **arrays: Array) -> Message:
    return Message(RecordDict({"arrays": ArrayRecord(arrays)}), reply_to=message)


def _raw(data: bytes, *shape: int) -> Callable[[Plan], Reply]:
    return lambda _: lambda message, __: _with(message, vector=Array("float32", shape, "numpy.ndarray", data))


def _put(vector: np.ndarray, index: int, value: float) -> np.ndarray:
    vector[index] = value
    return vector


def _lengthen(vector: np.ndarray, size: int, plan: Plan, *, by: float = 1.01) -> np.ndarray:
    """The update as long as `by` clip norms; its norms still say what an honest site would."""
    vector[:size] *= by * plan.aggregation.clip_norm / np.linalg.norm(vector[:size].astype(np.float64))
    return vector


def _header(values: int) -> bytes:
    """The first bytes of a .npy file of so many values, without the values."""
    buffer = BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (values,)})
    return buffer.getvalue()


LIES: dict[str, tuple[str, Callable[[Plan], Reply]]] = {
    "NaN in the update": ("not_finite", _vector(lambda v, size, _: _put(v, size // 2, np.nan))),
    "NaN in the tallies": ("not_finite", _vector(lambda v, size, _: _put(v, size, np.nan))),
    "infinite update": ("not_finite", _vector(lambda v, *_: _put(v, 0, -np.inf))),
    "one value too few": ("wrong_shape", _vector(lambda v, *_: v[:-1])),
    "one value too many": ("wrong_shape", _vector(lambda v, *_: np.append(v, v[-1:]))),
    "no values": ("wrong_shape", _vector(lambda v, *_: v[:0])),
    "matrix": ("wrong_shape", _vector(lambda v, *_: v[None])),
    "whole numbers": ("wrong_shape", _vector(lambda v, *_: v.astype(np.int64))),
    "junk": ("wrong_shape", _raw(b"\x93NUMPY junk", 11)),
    "no bytes": ("wrong_shape", _raw(b"", 0)),
    "claim of 10^11 values": ("wrong_shape", _raw(_header(10**11), 10**11)),
    "no arrays": ("wrong_shape", lambda _: lambda message, __: Message(RecordDict({}), reply_to=message)),
    "settings for arrays": (
        "wrong_shape",
        lambda _: lambda message, __: Message(RecordDict({"arrays": ConfigRecord({"vector": 1})}), reply_to=message),
    ),
    "two arrays": (
        "wrong_shape",
        lambda _: lambda m, honest: _with(m, vector=honest.content["arrays"]["vector"], more=Array(np.ones(1, "f4"))),
    ),
    "another name": ("wrong_shape", lambda _: lambda m, honest: _with(m, other=honest.content["arrays"]["vector"])),
    "negative tally": ("implausible", _vector(lambda v, size, _: _put(v, size, -1.0))),
    "more rows than people": ("implausible", _vector(lambda v, size, _: _put(v, size, 2e9))),
    "update longer than the clip norm": ("implausible", _vector(_lengthen)),
    "update longer than its levels allow": (
        "implausible",  # within the clip norm, but these sites declare 1/4 for most blocks
        _vector(lambda v, size, plan: _lengthen(v, size, plan, by=0.5)),
    ),
    "negative norm": ("implausible", _vector(lambda v, *_: _put(v, -3, -0.1))),
    "norm after clipping above the bound": (
        "implausible",
        _vector(lambda v, _, plan: _put(_put(v, -4, 9.0), -3, 1.01 * plan.aggregation.clip_norm)),
    ),
    "norm that clipping made larger": ("implausible", _vector(lambda v, *_: _put(v, -4, 0.5 * v[-3]))),
    "half clipped": ("implausible", _vector(lambda v, *_: _put(v, -2, 0.5))),
    "counted twice": ("implausible", _vector(lambda v, *_: _put(v, -1, 2.0))),
}


def test_site_moves_no_block_that_it_did_not_declare(plan, write_sites, tmp_path: Path, wire: Wire) -> None:
    """In a sum that is divided by the levels of others, even a short step of such a site would go a long way."""
    layout, out = Layout(plan), tmp_path / "out"
    own = np.flatnonzero(_own(layout, "task:death"))
    wire.change("west", "train", 1, _vector(lambda v, *_: _put(v, own[0], 1e-3))(plan))
    simulate(plan, find_sites(write_sites(**_tables(west="died"))), out)
    assert _failures(out) == [("west", 1, "implausible")]


@pytest.fixture(scope="module")
def without_south(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Plan, list[Any]], Path]:
    """without_south(plan, sites): the model of a run in whose first round the site 'south' does not answer."""
    done: list[Path] = []

    def run(plan: Plan, sites: list[Any]) -> Path:
        if not done:
            wire = Wire()
            wire.change("south", "train", 1, _fail)
            out = tmp_path_factory.mktemp("without-south") / "out"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("experiments.simulate.app", wire)
                simulate(plan, sites, out)
            done.append(out / "model.safetensors")
        return done[0]

    return run


@pytest.mark.parametrize("lie", LIES)
def test_reply_that_no_honest_site_sends_counts_as_no_reply(
    lie: str, make_plan, write_sites, tmp_path: Path, wire: Wire, without_south
) -> None:
    plan, sites = make_plan(training={"rounds": 2}), find_sites(write_sites())
    code, reply = LIES[lie]
    wire.change("south", "train", 1, reply(plan))
    result = simulate(plan, sites, tmp_path / "out")
    assert [(e["sites"], e["failed"]) for e in result["history"]] == [(2, {"south": code}), (3, {}), (3, {})]
    assert _failures(tmp_path / "out") == [("south", 1, code)]
    assert_same_model(tmp_path / "out" / "model.safetensors", without_south(plan, sites))


def _failures(out: Path) -> list[tuple[str, int, str]]:
    events = [json.loads(line) for line in (out / EVENTS).read_text().splitlines()]
    return [(e["site"], e["round"], e["code"]) for e in events if e["event"] == "site_failed"]


@pytest.mark.parametrize(
    ("kind", "number", "exchanges"),
    [("query.survey", 0, 2), ("evaluate", 2, 3)],  # a survey has two passes, an evaluation three
)
@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("not_finite", lambda v: _put(v, 5, np.nan)),
        ("wrong_shape", lambda v: v[1:]),
        ("implausible", lambda v: _put(v, 5, -1.0)),
        ("implausible", lambda v: _put(v, 5, 2e9)),
    ],
)
def test_sums_outside_training_leave_out_what_no_honest_site_sends(
    kind: str, number: int, exchanges: int, code: str, change, make_plan, write_sites, tmp_path: Path, wire: Wire
) -> None:
    plan, out = make_plan(training={"rounds": 1}), tmp_path / "out"
    wire.change("south", kind, 0, _vector(lambda v, *_: change(v))(plan))
    result = simulate(plan, find_sites(write_sites()), out)
    assert _failures(out) == [("south", number, code)] * exchanges
    assert result["history"][0]["sites"] == 3
    assert all(task["pooled"]["n"] > 0 for task in result["tasks"].values())


def test_survey_that_counts_more_values_than_rows_is_left_out(make_plan, write_sites, tmp_path: Path, wire) -> None:
    plan, out = make_plan(training={"rounds": 1}), tmp_path / "out"
    wire.change("south", "query.survey", 0, _vector(lambda v, *_: _put(v, 1, v[0] + 1.0))(plan))
    simulate(plan, find_sites(write_sites()), out)
    assert _failures(out) == [("south", 0, "implausible")] * 2


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
    sites = find_sites(write_sites(**_tables(), east=small_table(7)))
    east, *first = sites
    if finished:
        simulate(plan, first, out)
    else:
        for site in ("south", "west"):
            wire.change(site, "train", 2, _fail)
        with pytest.raises(TooFewSites):
            simulate(plan, first, out)
    files = {path: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != EVENTS}
    for others in ([east, *first], [east, *first[1:]]):
        with pytest.raises(RunError, match=r"this run began with north, south, west; east cannot join"):
            simulate(plan, others, out, resume=True)
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != EVENTS} == files
