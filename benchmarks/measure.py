"""Interleaved timing: A, B, A, B, …, so that a busy machine slows both sides alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

Clock = Callable[[], float]


@dataclass(frozen=True)
class Ratio:
    """ours / reference: medians of interleaved runs, in seconds, and the ratio's spread over pairs. note: of ours."""

    name: str
    ours_s: float
    reference_s: float
    ratio: float
    lowest: float
    highest: float
    pairs: int
    note: str = ""

    def line(self) -> str:
        return (
            f"{self.name:<58} {self.ratio:6.2f}x  [{self.lowest:.2f}, {self.highest:.2f}]"
            f"  {1e3 * self.ours_s:9.2f} ms against {1e3 * self.reference_s:9.2f} ms"
            f"{'  ' + self.note if self.note else ''}"
        )

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def compare(
    name: str,
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    pairs: int = 9,
    warm: bool = True,
    clock: Clock = time.perf_counter,
) -> Ratio:
    """Time both, one after the other, `pairs` times; the ratio is ours over reference.

    warm: after one unmeasured pair. Without it for what takes minutes.
    """
    return ratio_of(name, take_turns(ours, reference, turns=pairs, warm=warm, clock=clock))


def take_turns(
    *runs: Callable[[], object], turns: int, warm: bool = True, clock: Clock = time.perf_counter
) -> list[tuple[float, ...]]:
    """Seconds of each run in each turn: A, B, …, A, B, …; with `warm` after one turn that is not counted.

    clock: `time.process_time` for what runs in this process alone, beside other work.
    """
    times = [tuple(_time(run, clock) for run in runs) for _ in range(turns + warm)]
    return times[warm:]


def ratio_of(name: str, measured: Sequence[tuple[float, ...]], *, note: str = "") -> Ratio:
    """measured: seconds of ours and of the reference, pair by pair."""
    ratios = sorted(a / b for a, b in measured)
    first, second = (median(column) for column in zip(*measured, strict=True))
    return Ratio(name, first, second, median(ratios), ratios[0], ratios[-1], len(measured), note)


def _time(run: Callable[[], object], clock: Clock) -> float:
    started = clock()
    run()
    return clock() - started
