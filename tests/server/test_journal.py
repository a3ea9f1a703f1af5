"""Checkpoints are whole or not there; a folder belongs to one run."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.config import find_sites
from common.errors import ConsiliumError, RunError
from common.files import write_atomic
from common.plan import Plan
from experiments.simulate import simulate
from server.journal import CHECKPOINT, EVENTS, Journal, RunState
from tests.laws.asserts import assert_roundtrip


def _state(round_number: int, size: int = 10) -> RunState:
    names = ("parameters", "normaliser", "edges")
    arrays = {name: np.arange(size, dtype=np.float32) for name in names}
    return RunState(round_number, arrays, {"history": [{"round": 1}]})


def test_state_roundtrip() -> None:
    assert_roundtrip(_state(7), RunState.to_bytes, lambda data: RunState.from_bytes(data, source="x"))


@pytest.mark.parametrize("damage", [lambda d: d[:-3], lambda d: b"", lambda d: b"\xff" * 40 + d, lambda d: d[:20]])
def test_damaged_checkpoint_is_named(damage, tmp_path: Path, plan: Plan) -> None:
    journal = Journal(tmp_path, plan, resume=False)
    (tmp_path / CHECKPOINT).write_bytes(damage(_state(1).to_bytes()))
    with pytest.raises(RunError, match=r"checkpoint\.safetensors: the checkpoint is damaged"):
        journal.last()


def test_folder_of_another_run_is_refused(tmp_path: Path, plan: Plan, make_plan) -> None:
    first = Journal(tmp_path, plan, resume=False)
    with pytest.raises(RunError, match="another process is running in this folder"):
        Journal(tmp_path, plan, resume=True)
    first.close()
    with pytest.raises(RunError, match="already holds a run; add --resume"):
        Journal(tmp_path, plan, resume=False)
    with pytest.raises(RunError, match="holds a run of another plan"):
        Journal(tmp_path, make_plan(training={"rounds": 9}), resume=True)
    assert Journal(tmp_path, plan, resume=True).last() is None


def test_torn_last_event_is_dropped(tmp_path: Path, plan: Plan) -> None:
    journal = Journal(tmp_path, plan, resume=False)
    journal.event("round", round=1)
    journal.close()
    with open(tmp_path / EVENTS, "a") as file:
        file.write('{"event": "rou')
    Journal(tmp_path, plan, resume=True).event("round", round=2)
    assert [line[-2:] for line in (tmp_path / EVENTS).read_text().splitlines()] == ["1}", "2}"]


def test_full_disk_leaves_the_old_checkpoint(tmp_path: Path, plan: Plan) -> None:
    """A real limit of the operating system, in a child process: the write fails part of the way through."""
    journal = Journal(tmp_path, plan, resume=False)
    journal.commit(_state(1))
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            journal.commit(_state(2, size=100_000))
        except ConsiliumError as error:
            os._exit(0 if "cannot be written" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert journal.last().round == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", CHECKPOINT, "plan.json"]


def test_atomic_write_into_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConsiliumError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "inside", b"data")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("committed", [False, True], ids=["before-the-checkpoint", "before-the-event"])
def test_a_round_is_told_once_wherever_the_run_ends(
    secure: bool, committed: bool, write_sites: Any, tmp_path: Path, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, sites, out = make_plan(aggregation={"secure": secure}), find_sites(write_sites()), tmp_path / "out"
    commit = Journal.commit

    def ends(journal: Journal, state: RunState) -> None:
        if state.round == 2 and not committed:
            raise KeyboardInterrupt
        commit(journal, state)
        if state.round == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "commit", ends)
    with pytest.raises(KeyboardInterrupt):
        simulate(plan, sites, out)
    monkeypatch.undo()
    result = simulate(plan, sites, out, resume=True)
    events = [json.loads(line) for line in (out / EVENTS).read_text().splitlines()]
    told = [event for event in events if event["event"] == "round"]
    assert [event["round"] for event in told] == list(range(1, plan.training.rounds + 1))
    kept = [{key: value for key, value in event.items() if key not in ("event", "rounds")} for event in told]
    assert kept == result["history"][: plan.training.rounds]
