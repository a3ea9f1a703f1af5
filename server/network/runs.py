"""Which runs of a coordinator's folder go on, and how they end: the one that is followed, and any other in Flower.

A run can go on without `consilium server run`: when that process was killed, its Flower app works until it is cut off.
"""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConsiliumError, RunError
from common.files import write_atomic
from server.journal import LOCK
from server.network.flower import COMMAND_S, CONNECTION, FlowerFailed, flwr, healthy
from server.network.home import Home
from server.network.locks import is_held

STOP, RUNNING, FOLLOWED = "stop-run", "run.json", "run.lock"
LOOK_S = 0.3
STOPPING_S = 2 * COMMAND_S + 20.0
"""A process that follows a run may be waiting for one `flwr` when it is asked to stop, and needs another to obey."""
ENDING_S = 60.0
"""Flower's app hears within half of this that its run was stopped."""


@dataclass(frozen=True)
class Going:
    """A Flower run that goes on. out: its folder; None: nobody has begun it here. stopped: only its app still works."""

    run: str
    out: Path | None
    stopped: bool = False

    @property
    def name(self) -> str:
        return str(self.out) if self.out is not None else f"run {self.run} of Flower, which was not begun here"


def remember(home: Home, run: str, out: Path) -> None:
    """`run` is the Flower run that was begun last, into `out`. Raises ConsiliumError."""
    write_atomic(home.state / RUNNING, json.dumps({"run": run, "out": str(out)}).encode())


def last_run(home: Home) -> dict[str, str]:
    """Identifier (`run`) and folder (`out`) of the Flower run that was begun last; empty if there was none."""
    try:
        known = json.loads((home.state / RUNNING).read_bytes())
        return {"run": str(known["run"]), "out": str(known["out"])}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def going_on(home: Home) -> list[Going]:
    """Every run that goes on, whoever began it. Raises FlowerFailed where the SuperLink is there but does not say."""
    known = last_run(home)
    out = Path(known["out"]) if known else None
    listed = flwr(home, "ls", CONNECTION).get("runs", []) if healthy(home) else []
    runs = [str(entry["run-id"]) for entry in listed if not str(entry["status"]).startswith("finished")]
    found = [Going(run, out if run == known.get("run") else None) for run in runs]
    if out is not None and known["run"] not in runs and is_held(out / LOCK):
        found.append(Going(known["run"], out, stopped=True))
    return found


def check_out(home: Home, out: Path) -> Path:
    """`out`, absolute. Raises ConsiliumError where it is the coordinator's own folder, or in it outside runs/."""
    found, own, runs = out.resolve(), home.folder.resolve(), home.runs.resolve()
    if found.is_relative_to(own) and runs not in found.parents:
        raise ConsiliumError(
            f"{out}: is in the coordinator's own folder; choose another --out, in {home.runs} or elsewhere."
        )
    return out.absolute()


def alone(home: Home, out: Path) -> tuple[str, str]:
    """The Flower run that works into `out` already, and for what a run into `out` has to wait; empty where nothing.

    Raises RunError where another run goes on: the hospitals would answer both. FlowerFailed as `going_on`.
    """
    mine, waits = "", ""
    for each in going_on(home):
        if each.out is not None and each.out.resolve() == out.resolve():
            mine = each.run
        elif each.stopped:
            waits = f"the run in {each.name} was stopped, but its app has not ended yet."
        else:
            again = f"`consilium server run {home.folder} --out {each.out}` follows it, " if each.out else ""
            raise RunError(f"{each.name}: goes on already; {again}`consilium server stop {home.folder}` ends it.")
    return mine, waits


def stop_flower_run(home: Home, run: str) -> bool:
    """Whether Flower has ended it now; False where it had ended, or the SuperLink has forgotten it or is gone."""
    with contextlib.suppress(FlowerFailed):
        flwr(home, "stop", run, CONNECTION)
        return True
    return False


def stop_all(home: Home, say: Callable[[str], None]) -> None:
    """Returns once no run goes on, followed or not. say: told what is asked to stop. Raises ConsiliumError."""
    followed = is_held(home.state / FOLLOWED)
    if followed:
        write_atomic(home.state / STOP, b"")
        say("The run is asked to stop.")
        _wait(lambda: not is_held(home.state / FOLLOWED), f"{home.folder}: the run has not ended", STOPPING_S)
    left = going_on(home)
    for each in left:
        if not each.stopped:
            say(f"{each.name}: goes on without `consilium server run`; it is stopped.")
            stop_flower_run(home, each.run)
    if not followed and not left:
        say("No run goes on.")
    for each in left:
        if each.out is not None:
            lock = each.out / LOCK
            _wait(lambda lock=lock: not is_held(lock), f"{each.out}: Flower's app still writes into it", ENDING_S)


def _wait(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ConsiliumError(f"{what} after {timeout_s:g} s.")
        time.sleep(LOOK_S)
