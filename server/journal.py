"""The run on disk: one atomic, fsynced checkpoint per round, and an append-only log of events.

A crash at any instant leaves the checkpoint of the last finished round and a log whose last line is whole.
"""

import fcntl
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.errors import RunError
from common.files import drop_torn_line, read_bytes, write_atomic
from common.plan import Plan

Listener = Callable[[dict[str, Any]], None]
CHECKPOINT, EVENTS, PLAN, LOCK = "checkpoint.safetensors", "events.jsonl", "plan.json", ".lock"

_ARRAYS = {"parameters", "normaliser", "edges"}


@dataclass
class RunState:
    """What a run knows after `round` rounds. arrays: parameters, normaliser, edges, and the strategy's own."""

    round: int
    arrays: dict[str, NDArray[Any]]
    facts: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        tensors = {name: np.ascontiguousarray(value) for name, value in self.arrays.items()}
        facts = np.frombuffer(json.dumps(self.facts).encode(), dtype=np.uint8)
        return bytes(save(tensors | {"facts": facts, "round": np.array([self.round])}))

    @staticmethod
    def from_bytes(data: bytes, *, source: str) -> "RunState":
        try:
            tensors = load(data)
            facts = json.loads(tensors.pop("facts").tobytes())
            if missing := _ARRAYS - set(tensors):
                raise KeyError(*missing)
            return RunState(int(tensors.pop("round")[0]), tensors, facts)
        except (SafetensorError, KeyError, ValueError, IndexError) as error:
            raise RunError(f"{source}: the checkpoint is damaged ({error}); start again in an empty folder.") from None


class Journal:
    """A run's folder."""

    def __init__(self, folder: Path, plan: Plan, *, resume: bool, listeners: tuple[Listener, ...] = ()) -> None:
        """Claims `folder` for `plan`. Raises RunError if it holds another run, or a run that was not to be resumed."""
        self.folder, self._listeners, self._rounds = folder, listeners, plan.training.rounds
        plan_file = folder / PLAN
        if plan_file.exists():
            if read_bytes(plan_file) != plan.canonical:
                raise RunError(f"{folder}: this folder holds a run of another plan; choose another --out.")
            if not resume:
                raise RunError(f"{folder}: this folder already holds a run; add --resume, or choose another --out.")
        elif (folder / CHECKPOINT).exists() or (folder / "result.json").exists():
            raise RunError(f"{folder}: this folder already holds another run; choose another --out.")
        self._lock = _lock(folder)
        write_atomic(plan_file, plan.canonical)
        drop_torn_line(folder / EVENTS)
        self._told = _last_round(folder / EVENTS)

    def event(self, event: str, **facts: Any) -> None:
        """Append to the log and tell the listeners. Raises RunError if the disk does not take it."""
        entry = {"event": event, **facts}
        try:
            with open(self.folder / EVENTS, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise RunError(f"{self.folder / EVENTS}: cannot be written: {error.strerror or error}.") from None
        for listener in self._listeners:
            listener(entry)

    def close(self) -> None:
        """Let another run have the folder."""
        self._lock.close()

    def commit(self, state: RunState) -> None:
        write_atomic(self.folder / CHECKPOINT, state.to_bytes())

    def tell_round(self, state: RunState) -> None:
        """The event of the last round of `state`, after its checkpoint: once, however often the run is resumed."""
        if state.round > self._told:
            self.event("round", rounds=self._rounds, **state.facts["history"][-1])
            self._told = state.round

    def last(self) -> RunState | None:
        """The state after the last finished round, or None if no round was finished."""
        path = self.folder / CHECKPOINT
        return RunState.from_bytes(read_bytes(path), source=str(path)) if path.exists() else None


def _last_round(path: Path) -> int:
    """Number of the last round in a log of events; 0 before the first. A line that is none is passed over."""
    last = 0
    for line in read_bytes(path).splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
            last = int(event["round"]) if event["event"] == "round" else last
        except (ValueError, KeyError, TypeError):
            continue
    return last


def _lock(folder: Path) -> IO[bytes]:
    """Held until the process ends, however it ends: two runs in one folder would write over each other."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "ab")  # noqa: SIM115  held open on purpose
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"{folder}: another process is running in this folder.") from None
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}.") from None
    return file
