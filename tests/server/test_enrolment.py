"""Who takes part: a run begins with enough sites; those that come later join before a round; none holds it up twice."""

from collections.abc import Iterable

import numpy as np
import pytest
from flwr.app import Error, Message

from common.errors import TooFewSites
from server import cohort, exchange, newcomers
from tests.secure import NAMES, Wire
from tests.server.clock import Clock
from tests.server.coming import ROUNDS, Coming, events_of, run_with, sites_of


class Slow(Coming):
    """As that, but what the nodes in `slow` are asked first, they answer only after so many seconds."""

    clock: Clock
    slow: dict[int, float]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        identifiers = super().push_messages(messages)
        self._ready = getattr(self, "_ready", {}) | {
            each: self.clock.now + self.slow.pop(self._waiting[each].metadata.dst_node_id, 0.0) for each in identifiers
        }
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return super().pull_messages([each for each in message_ids if self._ready[each] <= self.clock.now])


def _rounds_take(seconds: float, wire: Wire, clock: Clock) -> None:
    def later(_: Message, honest: Message) -> Message:
        clock.now += seconds
        return honest

    wire.change(NAMES[0], "train", later, time=0)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (cohort, exchange, newcomers):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("secure", [True, False])
def test_a_site_that_comes_late_joins_before_the_next_round(secure: bool, federation) -> None:
    four = federation(4, secure=secure, **ROUNDS)
    late = NAMES[3]
    result = run_with(four, Coming(four, lambda rounds: set(NAMES[:4] if rounds >= 2 else NAMES[:3])))
    assert sites_of(four) == [3, 3, 4, 4]
    assert [(event["site"], event["round"]) for event in events_of(four, "site_joined")] == [(late, 3)]
    assert result["site_count"] == 4 and result["secure"] is secure


@pytest.mark.parametrize("secure", [True, False])
def test_a_site_that_was_away_when_the_run_resumed_comes_back(secure: bool, federation) -> None:
    four, stop = federation(4, secure=secure, **ROUNDS), Wire()
    for site in NAMES[:2]:
        stop.change(site, "train", lambda message, _: Message(Error(code=1, reason="gone: "), reply_to=message), time=2)
    with pytest.raises(TooFewSites):
        run_with(four, Coming(four, lambda rounds: set(NAMES[:4]), stop))
    run_with(four, Coming(four, lambda rounds: set(NAMES[:4] if rounds >= 3 else NAMES[:3])))
    assert sites_of(four) == [4, 3, 3, 4]
    assert [event["site"] for event in events_of(four, "site_back")] == [NAMES[3]]


def test_fewer_than_the_plan_asks_for_are_waited_for_and_then_named(federation, clock: Clock) -> None:
    four = federation(4, **ROUNDS)
    with pytest.raises(TooFewSites, match=r"^2 of 4 sites were connected after 5 s\.$"):
        run_with(four, Coming(four, lambda rounds: set(NAMES[:2])))
    assert sum(clock.sleeps) == pytest.approx(5.0)


def test_nobody_joins_after_the_last_round(federation) -> None:
    four = federation(4, **ROUNDS)
    stop = Wire()
    for site in NAMES[:2]:
        stop.change(
            site, "evaluate", lambda message, _: Message(Error(code=1, reason="gone: "), reply_to=message), time=0
        )
    with pytest.raises(TooFewSites):
        run_with(four, Coming(four, lambda rounds: set(NAMES[:3]), stop))
    result = run_with(four, Coming(four, lambda rounds: set(NAMES[:4])))
    assert sites_of(four) == [3, 3, 3, 3] and result["site_count"] == 3
    assert [event["code"] for event in events_of(four, "site_failed") if event["site"] == NAMES[3]] == [
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
    _rounds_take(31.0, wire, clock)
    run_with(four, Coming(four, lambda rounds: set(NAMES[:4]), wire))
    assert sites_of(four) == [3, 3, 3, 3]
    assert wire.asked[NAMES[3], "query.declare"] == 2


@pytest.mark.parametrize("secure", [True, False])
def test_a_node_that_hangs_costs_one_deadline_at_the_start_and_then_moments(
    secure: bool, federation, clock: Clock
) -> None:
    """It is asked after one minute, then after two; the others declare themselves once."""
    four, wire = federation(4, secure=secure, training={"rounds": 8}, aggregation={"min_sites": 3}), Wire()
    wire.change(NAMES[3], "query.declare", lambda message, _: None, time=0)
    _rounds_take(61.0, wire, clock)
    run_with(four, Coming(four, lambda rounds: set(NAMES[:4]), wire))
    assert sites_of(four) == [3] * 8
    assert [wire.asked[name, "query.declare"] for name in NAMES[:4]] == [1, 1, 1, 4]
    timeout_s = four.plan.aggregation.round_timeout_s
    assert timeout_s <= np.sum(clock.sleeps) < timeout_s + 3 * (exchange.MOMENT_S + 0.1)
    late = [event["round"] for event in events_of(four, "site_failed") if event["code"] == "no_answer_in_time"]
    assert late == [0, 3, 5], "told when it is asked again"


@pytest.mark.parametrize("secure", [True, False])
def test_a_newcomer_that_reads_its_data_for_a_while_holds_nobody_up(secure: bool, federation, clock: Clock) -> None:
    four, wire = federation(4, secure=secure, **ROUNDS), Wire()
    _rounds_take(20.0, wire, clock)
    grid = Slow(four, lambda rounds: set(NAMES[:4] if rounds >= 1 else NAMES[:3]), wire)
    grid.clock, grid.slow = clock, {4: 15.0}
    run_with(four, grid)
    assert sites_of(four) == [3, 3, 4, 4] and wire.asked[NAMES[3], "query.declare"] == 1 + secure
    assert np.sum(clock.sleeps) < 5.0 + exchange.MOMENT_S + 0.1, "the wait for a fourth at the start, and a moment"


def test_sites_of_a_session_are_not_asked_again_for_one_that_was_in_it(federation, clock: Clock) -> None:
    four, stop, wire = federation(4, **ROUNDS), Wire(), Wire()
    for site in NAMES[:2]:
        stop.change(site, "train", lambda message, _: Message(Error(code=1, reason="gone: "), reply_to=message), time=2)
    with pytest.raises(TooFewSites):
        run_with(four, Coming(four, lambda rounds: set(NAMES[:4]), stop))
    run_with(four, Coming(four, lambda rounds: set(NAMES[:4] if rounds >= 3 else NAMES[:3]), wire))
    assert sites_of(four) == [4, 3, 3, 4]
    for question in ("query.declare", "query.cards"):
        assert [wire.asked[name, question] for name in NAMES[:4]] == [1, 1, 1, 1]


@pytest.mark.parametrize("secure", [True, False])
def test_a_late_site_costs_one_deadline_and_not_one_in_each_round(secure: bool, federation, clock: Clock) -> None:
    four, wire = federation(4, secure=secure, **ROUNDS), Wire()
    wire.change(NAMES[3], "train", lambda message, _: None, time=0)
    run_with(four, Coming(four, lambda rounds: set(NAMES[:4]), wire))
    assert sites_of(four) == [3, 3, 3, 3]
    timeout_s = four.plan.aggregation.round_timeout_s
    assert timeout_s <= np.sum(clock.sleeps) < 2 * timeout_s
