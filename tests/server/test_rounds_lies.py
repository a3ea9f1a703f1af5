"""What no honest site sends counts as no reply, and moves nothing: the model is that of a run without the site."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from numpy.lib import format as npy

from client.config import find_sites
from common.model import Layout
from common.plan import Plan
from experiments.simulate import simulate
from server.journal import EVENTS
from tests.laws.asserts import assert_same_model
from tests.messages import refuse
from tests.server.rounds import Reply, Wire, own_entries, small_tables


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
    own = np.flatnonzero(own_entries(layout, "task:death"))
    wire.change("west", "train", 1, _vector(lambda v, *_: _put(v, own[0], 1e-3))(plan))
    simulate(plan, find_sites(write_sites(**small_tables(west="died"))), out)
    assert _failures(out) == [("west", 1, "implausible")]


@pytest.fixture(scope="module")
def without_south(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Plan, list[Any]], Path]:
    """without_south(plan, sites): the model of a run in whose first round the site 'south' does not answer."""
    done: list[Path] = []

    def run(plan: Plan, sites: list[Any]) -> Path:
        if not done:
            wire = Wire()
            wire.change("south", "train", 1, refuse)
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
    [("query.survey", 0, 3), ("evaluate", 2, 3)],  # each has three passes
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
    assert _failures(out) == [("south", 0, "implausible")] * 3
