"""Rounds of one deployment, one after the other: how long each took, its processor time, and what passed for it."""

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.deployment_relay import Bytes, Relay

SITES = 3
LOOK_S, ROUND_S = 0.02, 600.0


@dataclass(frozen=True)
class Block:
    """seconds: of each round. processor_s: of all processes in such a round. passed: in it, per site."""

    seconds: tuple[float, ...]
    processor_s: float
    passed: Bytes

    @property
    def median_s(self) -> float:
        return median(self.seconds)


def watch(ended: Callable[[], int], rounds: int, relay: Relay, roots: Callable[[], Iterable[int]]) -> Block:
    """What `rounds` rounds took, after a first one that is not counted.

    ended: how many rounds have ended by now, that one among them; it raises where no more will. roots: the processes
    that, with all that they have started, are the deployment. Raises TimeoutError.
    """
    ends: list[float] = []
    used: list[float] = []
    deadline = time.monotonic() + ROUND_S * (rounds + 2)
    while len(ends) <= rounds:
        if now := ended() - len(ends):
            ends += [time.time()] * now
            used += [processor_seconds(roots())] * now
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(ends)} rounds ended within {ROUND_S * (rounds + 2):g} s, expected {rounds + 1}.")
        time.sleep(LOOK_S)
    ends, used = ends[: rounds + 1], used[: rounds + 1]
    passed = relay.between(ends[0], ends[-1])
    each = Bytes(passed.up // rounds // SITES, passed.down // rounds // SITES)
    return Block(tuple(after - before for before, after in pairwise(ends)), (used[-1] - used[0]) / rounds, each)


def resident_mb(root: int) -> dict[str, float]:
    """Process -> MB (10^6 bytes) of memory that it holds: `root` and everything that it has started."""
    size = os.sysconf("SC_PAGE_SIZE")
    held = {pid: _read(f"/proc/{pid}/statm").split() for pid in _below([root])}
    return {_named(pid): int(fields[1]) * size / 1e6 for pid, fields in held.items() if fields}


def processor_seconds(roots: Iterable[int]) -> float:
    """Time that `roots`, all that they have started, and what of it has ended have spent on the processor."""
    fields = [_status(pid) for pid in _below(roots)]
    return sum(int(ticks) for each in fields if each for ticks in each[11:15]) / os.sysconf("SC_CLK_TCK")


def _below(roots: Iterable[int]) -> list[int]:
    parents = {int(path.name): fields for path in Path("/proc").glob("[0-9]*") if (fields := _status(int(path.name)))}
    found = set(roots) & set(parents)
    while more := {pid for pid, fields in parents.items() if int(fields[1]) in found} - found:
        found |= more
    return sorted(found)


def _status(pid: int) -> list[str]:
    """/proc/PID/stat after the name, as in proc(5) from field 3 on; empty where the process has ended."""
    return re.sub(r"^.*\) ", "", _read(f"/proc/{pid}/stat"), flags=re.DOTALL).split()


def _named(pid: int) -> str:
    """The program or module that runs, and its number."""
    words = _read(f"/proc/{pid}/cmdline").split("\0")
    program = words[words.index("-m") + 1] if "-m" in words else Path(words[min(1, len(words) - 1)]).name
    return f"{program} {pid}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # it has ended
        return ""
