"""Who takes part: a run begins with enough sites; those that come later join before a round; none holds it up twice."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message

from client.sessions import close_sessions
from common.errors import TooFewSites
from server import cohort, enrolment, exchange
from server.journal import EVENTS, Journal
from server.run import run
from tests.secure import NAMES, Federation, Grid, Wire
from tests.server.clock import Clock

ROUNDS = {"training": {"rounds": 4}, "aggregation": {"min_sites": 3}}


class Coming(Grid):
    """As ours; who is connected is what `there` says of the number of rounds that were finished."""

    def __init__(self, federation: Federation, there: Callable[[int], set[str]], wire: Wire | None = None) -> None:
        super().__init__(wire or Wire(), [{"site-config": str(path)} for path in federation.sites.values()])
        self._federation, self._there = federation, there

    def get_node_ids(self) -> list[int]:
        there = self._there(len(_events(self._federation, "round")))
        return [node for node, name in enumerate(self._federation.sites, start=1) if name in there]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (cohort, enrolment, exchange):
        monkeypatch.setattr(module, "time", clock)
    return clock


def _events(federation: Federation, kind: str) -> list[dict[str, Any]]:
    path = federation.out / EVENTS
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [event for event in events if event["event"] == kind]


def _run(federation: Federation, grid: Grid, *, begin_with: int | None = 3) -> dict[str, Any]:
    journal = Journal(federation.out, federation.plan, resume=True)
    try:
        return run(
            federation.plan,
            grid,
            journal,
            wanted_sites=len(federation.sites),
            keys=federation.keys,
            wait_s=5.0,
            begin_with=begin_with,
        )
    finally:
        journal.close()
        close_sessions()


def _sites(federation: Federation) -> list[int]:
    return [event["sites"] for event in _events(federation, "round")]


@pytest.mark.parametrize("secure", [True, False])
def test_a_site_that_comes_late_joins_before_the_next_round(secure: bool, federation) -> None:
    four = federation(4, secure=secure, **ROUNDS)
    late = NAMES[3]
    result = _run(four, Coming(four, lambda rounds: set(NAMES[:4] if rounds >= 2 else NAMES[:3])))
    assert _sites(four) == [3, 3, 4, 4]
    assert [(event["site"], event["round"]) for event in _events(four, "site_joined")] == [(late, 3)]
    assert result["site_count"] == 4 and result["secure"] is secure


@pytest.mark.parametrize("secure", [True, False])
def test_a_site_that_was_away_when_the_run_resumed_comes_back(secure: bool, federation) -> None:
    four, stop = federation(4, secure=secure, **ROUNDS), Wire()
    for site in NAMES[:2]:
        stop.change(site, "train", lambda message, _: Message(Error(code=1, reason="gone: "), reply_to=message), time=2)
    with pytest.raises(TooFewSites):
        _run(four, Coming(four, lambda rounds: set(NAMES[:4]), stop))
    _run(four, Coming(four, lambda rounds: set(NAMES[:4] if rounds >= 3 else NAMES[:3])))
    assert _sites(four) == [4, 3, 3, 4]
    assert [event["site"] for event in _events(four, "site_back")] == [NAMES[3]]


def test_fewer_than_the_plan_asks_for_are_waited_for_and_then_named(federation, clock: Clock) -> None:
    four = federation(4, **ROUNDS)
    with pytest.raises(TooFewSites, match=r"^2 of 4 sites were connected after 5 s\.$"):
        _run(four, Coming(four, lambda rounds: set(NAMES[:2])))
    assert sum(clock.sleeps) == pytest.approx(5.0)


def test_nobody_joins_after_the_last_round(federation) -> None:
    four = federation(4, **ROUNDS)
    stop = Wire()
    for site in NAMES[:2]:
        stop.change(
            site, "evaluate", lambda message, _: Message(Error(code=1, reason="gone: "), reply_to=message), time=0
        )
    with pytest.raises(TooFewSites):
        _run(four, Coming(four, lambda rounds: set(NAMES[:3]), stop))
    result = _run(four, Coming(four, lambda rounds: set(NAMES[:4])))
    assert _sites(four) == [3, 3, 3, 3] and result["site_count"] == 3
    assert [event["code"] for event in _events(four, "site_failed") if event["site"] == NAMES[3]] == [
        "came_after_the_last_round"
    ]


def test_a_site_that_declines_is_asked_again_after_a_minute_only(federation, clock: Clock) -> None:
    four, wire = federation(4, secure=False, **ROUNDS), Wire()
    wire.change(
        NAMES[3],
        "query.declare",
        lambda message, _: Message(Error(code=1, reason="paused: "), reply_to=message),
        time=0,
    )
    _run(four, Coming(four, lambda rounds: set(NAMES[:4]), wire))
    assert _sites(four) == [3, 3, 3, 3]
    assert wire.asked[NAMES[3], "query.declare"] == 2


@pytest.mark.parametrize("secure", [True, False])
def test_a_late_site_costs_one_deadline_and_not_one_in_each_round(secure: bool, federation, clock: Clock) -> None:
    four, wire = federation(4, secure=secure, **ROUNDS), Wire()
    wire.change(NAMES[3], "train", lambda message, _: None, time=0)
    _run(four, Coming(four, lambda rounds: set(NAMES[:4]), wire))
    assert _sites(four) == [3, 3, 3, 3]
    timeout_s = four.plan.aggregation.round_timeout_s
    assert timeout_s <= np.sum(clock.sleeps) < 2 * timeout_s
