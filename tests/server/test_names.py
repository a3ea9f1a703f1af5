"""A node may call itself what it likes: one that uses another's name is left out, and the others' run goes on."""

from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import Message

from client.sessions import close_sessions
from common.errors import TooFewSites
from server import cohort, exchange, newcomers
from server.journal import Journal
from server.secure_session import Opening
from server.secure_state import SecureState
from tests.messages import Reply, refuse
from tests.secure import NAMES, Federation, Wire
from tests.server.clock import Clock
from tests.server.coming import ROUNDS, Coming, events_of, run_with, sites_of

NORTH, IMPOSTOR = NAMES[1], NAMES[3]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    for module in (cohort, exchange, newcomers):
        monkeypatch.setattr(module, "time", clock)


def _as_north(_: Message, honest: Message) -> Message:
    honest.content["declaration"]["site"] = NORTH
    return honest


def _lying(reply: Reply = _as_north) -> Wire:
    wire = Wire()
    wire.change(IMPOSTOR, "query.declare", reply, time=0)
    return wire


def _left_out(federation: Federation) -> list[tuple[str, str]]:
    return [(event["site"], event["code"]) for event in events_of(federation, "site_failed")]


def test_who_cannot_sign_for_a_name_is_left_out_and_its_owner_stays(federation) -> None:
    four = federation(4, **ROUNDS)
    result = run_with(four, Coming(four, lambda rounds: set(NAMES[:4]), _lying()))
    assert sites_of(four) == [3] * 4 and result["site_count"] == 3
    assert set(_left_out(four)) == {("node 4", "name_twice")}
    assert events_of(four, "run_started")[0]["sites"] == list(NAMES[:3])


def test_with_too_few_others_the_run_pauses_by_the_usual_rule(federation) -> None:
    four = federation(4, training={"rounds": 4}, aggregation={"min_sites": 4})
    with pytest.raises(TooFewSites, match=r"3 site\(s\) enrolled, the plan asks for 4 \(node 4: name_twice\)"):
        run_with(four, Coming(four, lambda rounds: set(NAMES[:4]), _lying()))


def test_in_the_open_both_are_left_out(federation) -> None:
    five = federation(5, secure=False, **ROUNDS)
    run_with(five, Coming(five, lambda rounds: set(NAMES[:5]), _lying()))
    assert sites_of(five) == [3] * 4
    assert set(_left_out(five)) == {(NORTH, "name_twice")}


@pytest.mark.parametrize("secure", [True, False])
def test_a_newcomer_does_not_take_the_place_of_a_site_that_is_there(secure: bool, federation) -> None:
    four, wire = federation(4, secure=secure, **ROUNDS), _lying()
    run_with(four, Coming(four, lambda rounds: set(NAMES[: 4 if rounds >= 2 else 3]), wire))
    assert sites_of(four) == [3] * 4 and _left_out(four) == [("node 4", "name_twice")]
    assert [wire.asked[name, "query.declare"] for name in NAMES[:3]] == [1, 1, 1]


@pytest.fixture
def journal(federation) -> Any:
    four = federation(4, **ROUNDS)
    journal = Journal(four.out, four.plan, resume=True)
    yield four, journal
    journal.close()
    close_sessions()


def _replayed(seen: list[Any]) -> Callable[[Message, Message], Message]:
    """What north said in an earlier session, which everybody in it knows."""

    def reply(message: Message, _: Message) -> Message:
        return Message(seen[0], reply_to=message)

    return reply


def _opened(four: Federation, journal: Journal, wire: Wire) -> tuple[Any, dict[str, str], SecureState]:
    grid = four.grid(wire)
    return Opening(four.plan, grid, journal, four.keys).open(grid.get_node_ids())


def test_who_shows_a_card_that_all_have_seen_cannot_show_one_of_a_new_session(journal) -> None:
    four, log = journal
    wire = Wire()
    _, _, first = _opened(four, log, wire)
    first.finish(log)
    said = [
        honest.content for site, m, honest in wire.sent if (site, m.metadata.message_type) == (NORTH, "query.declare")
    ]
    cohort, failed, second = _opened(four, log, _lying(_replayed(said)))
    assert second.session != first.session
    assert cohort.names == dict(enumerate(NAMES[:3], start=1)) and failed == {"node 4": "name_twice"}


def test_a_site_whose_name_was_taken_while_it_was_away_gets_it_back(federation) -> None:
    """The impostor shows north's card of this session; a new one tells the two apart."""
    five, wire, said = federation(5, **ROUNDS), Wire(), []

    def remembered(_: Message, honest: Message) -> Message:
        said.append(honest.content)
        return honest

    def lies(message: Message, honest: Message) -> Message:
        return Message(said[0], reply_to=message) if events_of(five, "round") else honest

    wire.change(NORTH, "query.declare", remembered, time=0)
    wire.change(IMPOSTOR, "query.declare", lies, time=0)
    for site in NAMES[:3]:
        wire.change(site, "train", refuse, time=2)
    with pytest.raises(TooFewSites):
        run_with(five, Coming(five, lambda rounds: set(NAMES), wire))
    run_with(five, Coming(five, lambda rounds: set(NAMES) - ({NORTH} if rounds < 2 else set()), wire))
    assert sites_of(five) == [5, 3, 4, 4]
    assert ("node 4", "name_twice") in _left_out(five)
