"""A federation on disk, a clock that needs no time, what each site put into a sum, and a wire to tamper with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from client.sessions import close_sessions
from common.secagg import coordinator, report
from common.secagg.fixedpoint import FixedPoint
from common.secagg.header import header_of
from server import exchange
from server.journal import Journal, RunState
from tests.secure import Federation, build
from tests.server.clock import Clock
from tests.server.rounds import Wire


@dataclass
class Seen:
    """What each site put into its last report, before rounding and after, with its noise, and the sums opened."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    integers: dict[str, np.ndarray] = field(default_factory=dict)
    noise: dict[str, np.ndarray] = field(default_factory=dict)
    totals: list[np.ndarray] = field(default_factory=list)

    def exact(self, sites: tuple[str, ...]) -> np.ndarray:
        return np.sum([self.integers[site] for site in sites], axis=0)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen, make, total = Seen(), report.make_report, coordinator.Sum.total

    def making(party, session, state, contribution, *, random):
        header = header_of(state)
        fixed = FixedPoint(header.clip_norm, header.narrow_scale, header.wide_scale)
        parts = fixed.integers(contribution.narrow, contribution.wide, contribution.coins)
        seen.integers[party.site] = np.concatenate([part.astype(np.int64) for part in parts])
        seen.values[party.site] = np.concatenate([contribution.narrow.astype(np.float64), contribution.wide])
        if contribution.noise is not None:
            seen.noise[party.site] = contribution.noise
        return make(party, session, state, contribution, random=random)

    def opening(self):
        narrow, wide = total(self)
        seen.totals.append(np.concatenate([narrow.view(np.int32).astype(np.int64), wide.view(np.int64)]))
        return narrow, wide

    monkeypatch.setattr(report, "make_report", making)
    monkeypatch.setattr(coordinator.Sum, "total", opening)
    return seen


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Callable[..., Federation]]:
    yield lambda count, **kwargs: build(tmp_path / f"of-{count}", count, **kwargs)
    close_sessions()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(exchange, "time", clock)
    return clock


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Between the coordinator and the sites of a simulation."""
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
