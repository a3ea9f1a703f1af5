"""The door in a plan with secure sums: what it refuses, and that what is not in a sum is zero before the masks."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from client import work
from client.app import app
from client.ledger.file import LEDGER
from client.ledger.reading import read_receipts
from client.refusals import CODES
from client.release import Statistics, Update
from client.secure import answers as secure
from client.session import Session
from client.sessions import close_sessions
from common.contribution import STAGES, Contribution
from common.model import Layout
from common.secagg.encoding import encode
from common.secagg.header import header_of
from common.secagg.messages import CloseSession
from server.exchange import Question
from tests.conftest import small_table
from tests.messages import code_of, data_of
from tests.secure import NAMES, STEPS, Federation, Wire, broadcast, build
from tests.wire import asked_in_a_sum, protocol_of

SECRET = "patient-Ada-Lovelace-4711"
PROTOCOL = ("query.cards", "query.crosscheck", "query.unmask", "query.close")


def _tables() -> dict[str, pd.DataFrame]:
    """south records no smoking and no deaths; only west measures 'level'; nobody else lacks anything."""
    tables = {name: small_table(i) for i, name in enumerate(NAMES[:4])}
    tables["south"] = tables["south"].drop(columns="died").assign(smoker=np.nan)
    for name in ("east", "north", "south"):
        tables[name] = tables[name].drop(columns="level")
    return tables


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    yield build(tmp_path, 4, tables=_tables())
    close_sessions()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Federation]:
    yield build(tmp_path / "plain", 4, secure=False)
    close_sessions()


def _ask(federation: Federation, question: Question) -> Message:
    return app(question.to(1), federation.context("south"))


@pytest.mark.parametrize("protocol", [b"", b"\0", b"junk" * 100], ids=["none", "a byte", "junk"])
@pytest.mark.parametrize(("kind", "stage"), [(kind, stage) for kind, stages in STAGES.items() for stage in stages])
def test_no_values_leave_without_a_header(kind: str, stage: int, protocol: bytes, federation, monkeypatch) -> None:
    called: list[str] = []
    for name in ("train", "evaluate", "survey"):
        monkeypatch.setattr(work, name, lambda *_, name=name: called.append(name))
    number = 1 if kind == "train" else 0
    question = Question(kind, federation.plan.hash, number, stage, broadcast(federation.plan), protocol)
    reply = _ask(federation, question)
    assert code_of(reply) == "malformed_message" and not reply.has_content() and called == []


@pytest.fixture
def asked(federation: Federation) -> dict[str, Message]:
    """kind -> what `south` was asked in one sum."""
    return asked_in_a_sum(federation, "south")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda q: Question("train", q.plan_hash, 1, 0, q.vector + np.float32(0.5), q.protocol), "other_model"),
        (lambda q: Question("train", q.plan_hash, 2, 0, q.vector, q.protocol), "other_question"),
        (lambda q: Question("evaluate", q.plan_hash, 0, 0, q.vector, q.protocol), "other_question"),
        (lambda q: Question("train", q.plan_hash, 1, 0, q.vector, q.protocol[:-1]), "malformed_message"),
        (lambda q: Question("train", q.plan_hash, 1, 1, q.vector, q.protocol), "malformed_request"),
        (lambda q: Question("train", q.plan_hash, 1, 0, None, q.protocol), "other_model"),
        (lambda q: Question("train", "0" * 64, 1, 0, q.vector, q.protocol), "plan_not_approved"),
    ],
)
def test_header_of_another_question_is_refused(change, code: str, federation: Federation, asked) -> None:
    sent = asked["train"].content
    header = sent["header"]
    honest = Question("train", federation.plan.hash, 1, 0, sent["arrays"]["vector"].numpy(), header["protocol"])
    assert _ask(federation, honest).has_content()
    reply = _ask(federation, change(honest))
    assert code_of(reply) == code and not reply.has_content()


@pytest.mark.parametrize("kind", PROTOCOL)
def test_protocol_message_in_a_plain_plan_is_refused(kind: str, plain: Federation) -> None:
    for data in (b"", encode(CloseSession(b"s" * 32))):
        reply = _ask(plain, Question(kind, plain.plan.hash, protocol=data))
        expected = ("malformed_request",) if data else ("session_unknown", "malformed_message")
        assert code_of(reply) in expected and not reply.has_content()


@pytest.mark.parametrize("kind", PROTOCOL)
@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 4000], ids=["none", "short", "long"])
def test_malformed_protocol_message_is_refused(kind: str, data: bytes, federation: Federation) -> None:
    assert code_of(_ask(federation, Question(kind, federation.plan.hash, protocol=data))) == "malformed_message"


@pytest.mark.parametrize("kind", ["query.crosscheck", "query.unmask", "query.cards"])
def test_every_cut_of_a_protocol_message_is_refused(kind: str, federation: Federation, asked) -> None:
    data = protocol_of(asked[kind])
    for size in range(0, len(data), 1 + len(data) // 40):
        reply = _ask(federation, Question(kind, federation.plan.hash, protocol=data[:size]))
        assert code_of(reply) == "malformed_message"


@pytest.mark.parametrize("kind", STEPS)
def test_report_and_answers_are_all_that_leaves(kind: str, federation: Federation, asked) -> None:
    """One array of bytes and nothing beside it; no float vector is in it, and its receipt names its hash."""
    reply = app(asked[kind], federation.context("south"))
    assert list(reply.content) == ["arrays"]
    (name,) = reply.content["arrays"]
    assert name == ("report" if kind == "train" else "answer")
    assert not any(isinstance(record, ConfigRecord) for record in reply.content.values())
    receipt = read_receipts(federation.sites["south"].parent / LEDGER)[-1]
    assert receipt["bytes"] == len(data_of(reply)) and receipt["release"] != "update"
    assert receipt["sha256"] == hashlib.sha256(data_of(reply)).hexdigest()


def test_vector_where_a_protocol_message_belongs_is_refused(federation: Federation) -> None:
    header = ConfigRecord({"plan_hash": federation.plan.hash, "round": 0, "stage": 0})
    for name in ("vector", "protocol", "other"):
        arrays = ArrayRecord({name: Array(np.zeros(3, dtype=np.float32))})
        reply = app(
            Message(RecordDict({"header": header, "arrays": arrays}), 1, "query.unmask"), federation.context("south")
        )
        assert code_of(reply) in ("malformed_message", "malformed_request")


def test_two_protocol_messages_at_once_are_refused(federation: Federation) -> None:
    header = {"plan_hash": federation.plan.hash, "round": 0, "stage": 0, "protocol": 7}
    for protocol in (7, "text", [1], True):
        record = RecordDict({"header": ConfigRecord(header | {"protocol": protocol})})
        assert code_of(app(Message(record, 1, "query.unmask"), federation.context("south"))) == "malformed_request"


def test_what_takes_no_part_or_was_not_declared_is_zero_before_the_masks(federation: Federation, monkeypatch) -> None:
    """In every sum of a run: spied where the vector meets its masks."""
    put: list[tuple[str, object, np.ndarray]] = []
    make = secure.report.make_report

    def making(party, session, state, contribution, *, random):
        vector = np.concatenate([contribution.narrow.astype(np.float64), contribution.wide])
        put.append((party.site, header_of(state), vector))
        return make(party, session, state, contribution, random=random)

    monkeypatch.setattr(secure.report, "make_report", making)
    levels = {site: federation.session(site).levels for site in federation.sites}
    federation.run()
    names = Layout(federation.plan).block_names
    questions = {(header.purpose, header.stage) for _, header, _ in put}
    assert questions == {(kind, stage) for kind, stages in STAGES.items() for stage in stages}
    for site, header, vector in put:
        asked = Contribution(federation.plan, header.purpose, header.stage)
        for block, name in enumerate(names):
            own = asked.block_of == block
            if block not in header.blocks or levels[site][name] == 0:
                assert not vector[own].any(), (site, header.purpose, name)
        assert vector.any()
        assert names.index("task:triage") not in header.blocks, "west alone has its labels"
    assert levels["south"]["task:death"] == levels["south"]["input:smoker"] == 0
    assert levels["west"]["task:triage"] > 0


@pytest.mark.parametrize(("kind", "stage"), [(kind, stage) for kind, stages in STAGES.items() for stage in stages])
def test_what_work_puts_where_it_does_not_belong_meets_no_mask(kind: str, stage: int, federation, monkeypatch) -> None:
    """Handlers that fill every entry, at every site: the door takes out what no declaration covers."""
    asked, put, make = Contribution(federation.plan, kind, stage), {}, secure.report.make_report
    tallies = np.ones(asked.wide - 4 if kind == "train" else asked.wide)

    def fill(*_: object) -> Update | Statistics:
        ones = np.ones(asked.narrow, "f4")
        return Update(ones, ones.copy(), tallies) if kind == "train" else Statistics(tallies, "test")

    monkeypatch.setattr(work, kind.removeprefix("query."), fill)

    def making(party, session, state, contribution, *, random):
        put[party.site] = header_of(state), np.concatenate([contribution.narrow.astype("f8"), contribution.wide]) != 0
        return make(party, session, state, contribution, random=random)

    monkeypatch.setattr(secure.report, "make_report", making)
    names, number = Layout(federation.plan).block_names, int(kind == "train")
    with federation.sums() as sums:
        question = Question(kind, federation.plan.hash, number, stage, np.zeros(3, "f4"))
        size = asked.narrow + asked.wide
        sums.collect(question, size=size, min_sites=3, plausible=lambda *_: True)
    for site, (header, filled) in put.items():
        own = {b for b, name in enumerate(names) if federation.session(site).levels[name] > 0}
        expected = asked.entries_of(own & set(header.blocks), header.pairs)
        if kind == "train":
            expected[-4:] = filled[-4:]  # the norms are what they are
        assert np.array_equal(filled, expected) and 0 < filled.sum() < len(filled)


@pytest.mark.parametrize("kind", ["query.crosscheck", "query.unmask"])
def test_planted_exception_in_the_protocol_leaves_as_a_code(kind: str, federation, asked, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(secure.committee, {"query.crosscheck": "cross_check", "query.unmask": "unmask"}[kind], fail)
    reply = app(asked[kind], federation.context("south"))
    assert reply.error.code == CODES["site_error"][0] and SECRET not in repr(reply)


@pytest.mark.parametrize("place", ["mask", "contribution", "levels"])
def test_planted_exception_around_the_masks_leaves_as_a_code(place: str, federation: Federation, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError(SECRET)

    class Failing(Session):
        """A site that fails in one place, once its session is open."""

    setattr(Failing, place, property(fail) if place == "levels" else fail)
    wire = Wire()
    with federation.sums(wire) as sums:
        federation.session("south").__class__ = Failing
        federation.session("south").__dict__.pop("levels", None)
        total = federation.collect(sums)
    assert total.failed == {"south": "site_error"}
    (reply,) = (r for s, m, r in wire.sent if (s, m.metadata.message_type) == ("south", "train"))
    assert SECRET not in repr(reply) and reply.error.reason == "site_error: " + CODES["site_error"][1]
    log = (federation.sites["south"].parent / "site.log").read_text()
    assert "ValueError at test_secure_door.py:" in log and SECRET not in log
