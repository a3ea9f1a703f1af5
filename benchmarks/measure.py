"""Interleaved timing: A, B, A, B, …, so that a busy machine slows both sides alike."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median


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
    name: str, ours: Callable[[], object], reference: Callable[[], object], *, pairs: int = 9, warm: bool = True
) -> Ratio:
    """Time both, one after the other, `pairs` times; the ratio is ours over reference.

    warm: after one unmeasured pair. Without it for what takes minutes.
    """
    times: list[tuple[float, float]] = []
    for _ in range(pairs + warm):
        times.append((_time(ours), _time(reference)))
    measured = times[warm:]
    ratios = sorted(a / b for a, b in measured)
    first, second = (median(column) for column in zip(*measured, strict=True))
    return Ratio(name, first, second, median(ratios), ratios[0], ratios[-1], pairs)


def _time(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
