"""The coordinator dies at any step of a secure sum and is started again; the sites remember all, on their disks."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client import work
from client.secure.store import STORE
from common.secagg import coordinator
from common.secagg.encoding import decode
from common.secagg.messages import CrossCheck
from server import coordinator as server_coordinator
from server import run as server_run
from server.journal import Journal
from server.secure_state import SecureState
from server.secure_sum import SecureSum
from tests.messages import data_of
from tests.secure import Federation, Killed, Wire, build
from tests.wire import protocol_of

RULES = {"training": {"rounds": 2}}


def _after(step: Callable[..., Any]) -> Callable[..., Any]:
    def killed(*arguments: Any, **more: Any) -> None:
        step(*arguments, **more)
        raise Killed

    return killed


def _before(_: Callable[..., Any]) -> Callable[..., Any]:
    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    return killed


PLACES: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "after the header is kept": (SecureState, "begin", _after),
    "after the reports": (coordinator.Sum, "close", _before),
    "after the survivors are kept": (SecureState, "survive", _after),
    "after the cross-check": (coordinator.Sum, "unmask_request", _before),
    "after the shares have come": (coordinator.Sum, "values", _before),
    "after the sum is opened": (SecureSum, "collect", _after),
    "before the sum is kept": (SecureState, "finish", _before),
    "after the sum is kept": (SecureState, "finish", _after),
}
SUMS = {"a survey": 2, "what goes together": 3, "round 1": 4, "round 2": 5, "the final evaluation": 7}
"""Which sum of the run: three surveys, two rounds, and three evaluations."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    federation = build(tmp_path_factory.mktemp("whole"), 4, **RULES)
    federation.run()
    return (federation.out / "model.safetensors").read_bytes()


def _kill(federation: Federation, wire: Wire, place: tuple[Any, str, Callable[..., Any]], *, time: int) -> None:
    """Run until the `time`-th call of a step, and die there."""
    owner, name, how = place
    step, calls = getattr(owner, name), iter(range(1, 1000))

    def counted(*arguments: Any, **more: Any) -> Any:
        return (how(step) if next(calls) == time else step)(*arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, counted)
        with pytest.raises(Killed):
            federation.run(wire)


def _opened(federation: Federation) -> dict[str, list[int]]:
    """site -> in how many rounds it has answered Unmask, for each question."""
    counts = {}
    for site, toml in federation.sites.items():
        with sqlite3.connect(toml.parent / "keys" / STORE) as database:
            rows = database.execute("SELECT COUNT(*) FROM opened GROUP BY question").fetchall()
        counts[site] = [count for (count,) in rows]
    return counts


def _most_opened(federation: Federation) -> int:
    return max(count for counts in _opened(federation).values() for count in counts)


def _assert_one_survivor_set(wire: Wire) -> None:
    """No member has signed two sets of survivors under one header's number, nor one set in two ways."""
    signed = defaultdict(set)
    for site, message, reply in wire.sent:
        if message.metadata.message_type == "query.crosscheck" and reply.has_content():
            asked = decode(CrossCheck, protocol_of(message))
            names = tuple(report.site for report in asked.reports)
            signed[site, asked.header.session, asked.header.round].add((names, data_of(reply)))
    assert signed and all(len(sets) == 1 for sets in signed.values())


@pytest.mark.parametrize("which", SUMS)
@pytest.mark.parametrize("place", PLACES)
def test_coordinator_killed_inside_a_sum_goes_on_with_the_same_sum(
    place: str, which: str, whole: bytes, tmp_path: Path
) -> None:
    federation, wire = build(tmp_path, 4, **RULES), Wire()
    _kill(federation, wire, PLACES[place], time=SUMS[which])
    federation.run(wire)
    assert (federation.out / "model.safetensors").read_bytes() == whole
    _assert_one_survivor_set(wire)
    members = federation.keys.roster.committee
    for site, counts in _opened(federation).items():
        assert counts == ([1] * 8 if site in members else []), "three surveys, two rounds, three evaluations, once each"


def test_every_step_of_one_round_killed_in_turn(whole: bytes, tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 4, **RULES), Wire()
    _kill(federation, wire, PLACES["after the header is kept"], time=5)
    for place in list(PLACES)[1:6]:
        _kill(federation, wire, PLACES[place], time=1)
    federation.run(wire)
    assert (federation.out / "model.safetensors").read_bytes() == whole
    _assert_one_survivor_set(wire)
    assert _most_opened(federation) == 1


def test_coordinator_killed_before_the_checkpoint_asks_for_the_same_sum(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sites answer from their stores: they do not train the round a second time."""
    federation, wire, trained = build(tmp_path, 4, **RULES), Wire(), []
    honest = work.train
    monkeypatch.setattr(work, "train", lambda session, request: (trained.append(1), honest(session, request))[1])
    _kill(federation, wire, (Journal, "commit", _before), time=3)
    assert len(trained) == 2 * 4
    federation.run(wire)
    assert len(trained) == 2 * 4
    assert (federation.out / "model.safetensors").read_bytes() == whole
    assert _most_opened(federation) == 1


def test_opened_statistics_are_not_asked_again(tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 4, **RULES), Wire()
    _kill(federation, wire, PLACES["after the sum is kept"], time=7)
    asked = wire.asked["east", "evaluate"]
    assert asked == 2, "the end of the learning curve, and the first pass over the test rows"
    federation.run(wire)
    assert wire.asked["east", "evaluate"] == asked + 1
    assert _most_opened(federation) == 1


@pytest.mark.parametrize(
    "place",
    [(server_coordinator, "close_session", _after), (server_run, "write_result", _before)],
    ids=["after the session is closed", "before the result is written"],
)
def test_run_that_dies_at_its_end_can_be_finished(place: tuple[Any, str, Any], whole: bytes, tmp_path: Path) -> None:
    """The sites have erased the session's keys; what is left to do takes a new session."""
    federation = build(tmp_path, 4, **RULES)
    _kill(federation, Wire(), place, time=1)
    assert not (federation.out / "result.json").exists()
    assert federation.run()["history"][-1]["sites"] == 4
    assert (federation.out / "model.safetensors").read_bytes() == whole
    assert _most_opened(federation) == 1


def test_site_whose_store_was_lost_makes_all_begin_a_new_session(whole: bytes, tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 4, **RULES), Wire()
    _kill(federation, wire, PLACES["after the shares have come"], time=5)
    for file in (federation.sites["west"].parent / "keys").glob(f"{STORE}*"):
        file.unlink()
    federation.run(wire)
    assert (federation.out / "model.safetensors").read_bytes() == whole
    _assert_one_survivor_set(wire)
    counts = {site: max(found, default=0) for site, found in _opened(federation).items()}
    assert counts == {"east": 2, "north": 2, "south": 2, "west": 0}, "round 2 was opened in both sessions: one retry"
