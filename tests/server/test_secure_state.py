"""What the coordinator keeps of secure sums: it survives a restart, and no number of a round is used twice."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from client.app import app
from client.secure.store import STORE
from client.sessions import close_sessions
from common.errors import RunError
from common.plan import Plan
from common.secagg.encoding import decode, encode
from common.secagg.messages import CloseSession, OpenSession
from server.exchange import Question
from server.journal import Journal
from server.secure_session import Opening, close_session, named
from server.secure_state import STATE, SecureState, load_kept
from server.sums import Sum
from tests.messages import refuse
from tests.secure import Federation, Wire, build
from tests.wire import protocol_of


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    yield build(tmp_path, 3)
    close_sessions()


@pytest.fixture
def journal(federation: Federation) -> Iterator[Journal]:
    journal = Journal(federation.out, federation.plan, resume=True)
    yield journal
    journal.close()


def _open(federation: Federation, journal: Journal, wire: Wire | None = None) -> tuple[dict[str, str], SecureState]:
    close_sessions()
    grid = federation.grid(wire)
    _, failed, state = Opening(federation.plan, grid, journal, federation.keys).open(grid.get_node_ids())
    return failed, state


def _again(state: SecureState, journal: Journal) -> SecureState:
    """As a coordinator that is started again finds it."""
    kept = load_kept(journal)
    assert kept is not None
    return SecureState(state.keys, kept)


def test_header_and_survivors_survive_a_restart(federation: Federation) -> None:
    with federation.sums() as sums:
        federation.collect(sums)
        state, journal = sums.state, sums.journal
        found = _again(state, journal)
        assert found.kept == state.kept and found.survivors == tuple(federation.sites)
        pending = found.pending(found.kept.question)
        assert pending is not None and pending.header.round == found.last_round == 1
        assert found.pending(b"another question") is None


def test_no_round_number_is_used_twice(federation: Federation) -> None:
    """Not after a sum, not after one that was given up, not after a restart."""
    numbers = []
    with federation.sums() as sums:
        for shift in (0.0, 0.1, 0.2):
            federation.collect(sums, shift=shift)
            numbers.append(sums.state.last_round)
            sums.state.finish(sums.journal)
            sums.state = _again(sums.state, sums.journal)
            assert sums.state.pending(sums.state.kept.question) is None
    assert numbers == [1, 2, 3]


def _total(value: float) -> Sum:
    return Sum(np.array([value, 0.0, -value]), ("a", "c"), {"b": "site_error"}, {}, 77)


def test_opened_statistics_are_the_same_after_a_restart(federation: Federation, journal: Journal) -> None:
    _, state = _open(federation, journal)
    for number in range(6):
        state.finish(journal, bytes([number]) * 32, _total(number + 0.1))
    found = _again(state, journal)
    assert found.result(bytes(32)) is None, "only the last few are kept"
    for number in (3, 4, 5):
        known, whole = found.result(bytes([number]) * 32), _total(number + 0.1)
        assert known is not None and known.total.tobytes() == whole.total.tobytes()
        assert (known.sites, known.failed, known.bytes_up) == (whole.sites, whole.failed, 77)
    assert found.result(b"?" * 32) is None


@pytest.mark.parametrize("damage", [b"", b"junk", None], ids=["empty", "junk", "cut off"])
def test_damaged_state_is_said_in_one_sentence(damage: bytes | None, federation: Federation, journal: Journal) -> None:
    _, state = _open(federation, journal)
    state.finish(journal)
    path = federation.out / STATE
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    with pytest.raises(RunError, match=r"secure.bin: damaged; start again in an empty folder\.$"):
        _open(federation, journal)


def test_it_holds_no_secret(federation: Federation) -> None:
    with federation.sums() as sums:
        federation.collect(sums)
        data = (federation.out / STATE).read_bytes()
    assert sums.state.keys.key.private_bytes not in data


def test_session_goes_on_where_all_sites_know_it(federation: Federation, journal: Journal) -> None:
    _, first = _open(federation, journal)
    first.finish(journal)
    failed, second = _open(federation, journal)
    assert failed == {} and second.kept == first.kept


@pytest.mark.parametrize(
    ("failed", "missing", "told"),
    [
        ({"node 7": "paused"}, {"north"}, {"north": "paused"}),
        ({"node 7": "paused", "west": "no_answer"}, {"north"}, {"west": "no_answer", "north": "paused"}),
        ({"node 7": "paused", "node 8": "paused"}, {"north", "south"}, {"north": "paused", "south": "paused"}),
        ({"node 7": "paused", "node 8": "site_error"}, {"north", "south"}, None),
        ({"node 7": "paused"}, {"north", "south"}, None),
        ({"west": "exchange_key_twice"}, set(), None),
    ],
)
def test_a_node_that_declines_is_named_where_only_one_name_fits(failed, missing, told) -> None:
    assert named(dict(failed), missing) == (failed if told is None else told)


def test_session_goes_on_without_a_site_that_is_away(federation: Federation, journal: Journal, make_plan) -> None:
    _, first = _open(federation, journal)
    first.finish(journal)
    wire = Wire()
    wire.change("south", "query.declare", refuse, time=0)
    with pytest.raises(RunError, match=r"2 site\(s\) enrolled, the plan asks for 3 \(south: site_error\)"):
        _open(federation, journal, wire)
    assert _open(federation, journal)[1].kept == first.kept


def test_site_that_erased_the_session_makes_all_begin_a_new_one(federation: Federation, journal: Journal) -> None:
    """As after thirty days, or with a store that was put back: without it the run could never go on."""
    _, first = _open(federation, journal)
    first.finish(journal, b"q" * 32, _total(1.0))
    app(_closing(federation.plan, first), federation.context("south"))
    failed, second = _open(federation, journal)
    assert failed == {} and second.session != first.session and second.last_round == 0
    assert second.result(b"q" * 32) is not None, "what was opened stays"


def test_every_site_that_lost_the_session_and_is_away_is_a_sentence(federation: Federation, journal: Journal) -> None:
    _, first = _open(federation, journal)
    first.finish(journal)
    for toml in federation.sites.values():
        for file in (toml.parent / "keys").glob(f"{STORE}*"):
            file.unlink()
    wire = Wire()
    for site in federation.sites:
        wire.change(site, "query.declare", refuse, time=2)
    with pytest.raises(RunError, match=r"0 site\(s\) enrolled, the plan asks for 3"):
        _open(federation, journal, wire)


def test_closed_session_is_erased_at_every_site(federation: Federation) -> None:
    with federation.sums() as sums:
        federation.collect(sums)
        close_session(sums.state, sums.grid, sums.cohort, federation.plan)
    for site in federation.sites:
        with federation.session(site).vault.open() as opened:
            assert opened.open_sessions == 0 and opened.has(sums.state.session)


def _closing(plan: Plan, state: SecureState) -> Message:
    return Question("query.close", plan.hash, protocol=encode(CloseSession(state.session))).to(1)


def test_roster_that_tolerates_less_than_the_plan_is_a_sentence(tmp_path: Path) -> None:
    federation = build(tmp_path / "lax", 5)
    strict = build(tmp_path / "strict", 5, aggregation={"colluding_sites": 1})
    journal = Journal(strict.out, strict.plan, resume=True)
    opening = Opening(strict.plan, strict.grid(), journal, federation.keys)
    with pytest.raises(RunError, match=r"the roster is for colluding_sites = 0 .* the plan's aggregation for 1 and 3"):
        opening.check_roster()
    journal.close()


def test_card_of_another_site_or_roster_keeps_that_site_out(federation: Federation, journal: Journal) -> None:
    def swapped(message, honest):
        other = app(message, federation.context("north"))
        honest.content["declaration"]["card"] = other.content["declaration"]["card"]
        return honest

    wire = Wire()
    wire.change("south", "query.declare", swapped)
    with pytest.raises(RunError, match=r"2 site\(s\) enrolled, the plan asks for 3 \(south: card_of_another"):
        _open(federation, journal, wire)
    request = protocol_of(next(m for _, m, _ in wire.sent))
    assert len(decode(OpenSession, request).session) == 32
