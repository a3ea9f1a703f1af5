"""A site in secure sums: what it stores before it answers, what it never does twice, where its secrets come from."""

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from flwr.app import Message

from client import work
from client.app import app
from client.at_rest.key import vaulted
from client.config import load_site
from client.secure.store import STORE, FileVault, Store
from client.session import Session
from client.sessions import close_sessions
from common.errors import Refusal, TooFewSites
from common.secagg.encoding import decode, encode
from common.secagg.messages import (
    CloseSession,
    CrossCheck,
    OpenSession,
    SessionCards,
    SignedHeader,
    SignedShares,
    Unmask,
)
from server.exchange import Question
from tests.conftest import small_table
from tests.messages import code_of, data_of, refuse
from tests.secure import STEPS, Federation, Wire, build
from tests.wire import asked_in_a_sum, protocol_of


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    yield build(tmp_path, 4)
    close_sessions()


@pytest.fixture
def questions(federation: Federation) -> dict[str, Message]:
    """kind -> what `south` was asked in one sum, and has answered."""
    return asked_in_a_sum(federation, "south")


def _store(federation: Federation, site: str) -> FileVault:
    config = load_site(federation.sites[site])
    return FileVault(config.keys / STORE, vaulted(config))


def _name(questions: dict[str, Message]) -> bytes:
    return decode(SignedHeader, questions["train"].content["header"]["protocol"]).header.session


def test_everything_is_on_the_disk_before_it_is_answered(federation: Federation) -> None:
    """Every answer is compared with what another process would find, at the moment at which it leaves."""
    found: list[str] = []

    def look(message: Message, reply: Message) -> Message:
        kind = message.metadata.message_type
        with _store(federation, "south").open() as opened:
            if kind == "query.declare":
                request = decode(OpenSession, protocol_of(message))
                assert encode(opened.session(request.session)[0].card) == reply.content["declaration"]["card"]
            elif kind == "query.cards":
                cards = decode(SessionCards, protocol_of(message))
                assert opened.session(cards.cards[0].session)[0].all_cards == cards
            elif kind == "train":
                signed = decode(SignedHeader, message.content["header"]["protocol"])
                state = opened.session(signed.header.session)[1]
                assert (state.header, opened.report(signed.header.session)[0]) == (
                    encode(signed.header),
                    data_of(reply),
                )
            elif kind == "query.crosscheck":
                asked = decode(CrossCheck, protocol_of(message))
                state = opened.session(asked.header.session)[1]
                assert state.survivors and decode(SignedShares, state.answer).shares.member == "south"
                assert state.opened == 0
            elif kind == "query.unmask":
                (count,) = opened._database.execute("SELECT COUNT(*) FROM opened").fetchone()
                state = opened.session(asked_of(message).session)[1]
                assert (count, state.opened, state.answer) == (1, 1, data_of(reply))
        found.append(kind)
        return reply

    def asked_of(message: Message) -> Unmask:
        return decode(Unmask, protocol_of(message))

    wire = Wire()
    for kind in ("query.declare", "query.cards", *STEPS):
        wire.change("south", kind, look)
    with federation.sums(wire) as sums:
        federation.collect(sums)
    assert found == ["query.declare", "query.cards", *STEPS]


WRITES = {"train": ("keep_round", 2), "query.crosscheck": ("keep_round", 1), "query.unmask": ("keep_opened", 1)}


@pytest.mark.parametrize("kind", WRITES)
def test_nothing_leaves_that_was_not_stored(kind: str, federation: Federation, monkeypatch) -> None:
    """The last write of a step fails as on a full disk: the step has no answer, and the site says why."""
    name, last = WRITES[kind]
    write, wire, calls = getattr(Store, name), Wire(), []

    def full(self: Store, *arguments: object, **named: object) -> None:
        calls.append(1)
        if len(calls) == last:
            raise Refusal("cannot_record", "no space left on device")
        write(self, *arguments, **named)

    def only_here(message: Message) -> Message | None:
        with monkeypatch.context() as patch:
            patch.setattr(Store, name, full)
            reply = app(message, federation.context("south"))
        assert code_of(reply) == "cannot_record" and not reply.has_content() and len(calls) == last
        return reply

    wire.instead["south", kind] = only_here
    with federation.sums(wire) as sums:
        total = federation.collect(sums)
    assert total.failed == ({"south": "cannot_record"} if kind == "train" else {}) and calls


def test_same_question_gets_the_same_bytes_and_trains_nothing(federation, questions, monkeypatch) -> None:
    trained: list[int] = []
    honest = work.train
    monkeypatch.setattr(work, "train", lambda *a: (trained.append(1), honest(*a))[1])
    first = {kind: data_of(app(questions[kind], federation.context("south"))) for kind in STEPS}
    close_sessions()  # as after a restart
    again = {kind: data_of(app(questions[kind], federation.context("south"))) for kind in STEPS}
    assert first == again and trained == []
    with _store(federation, "south").open() as opened:
        assert opened.report(_name(questions))[0] == first["train"]


def test_a_stored_report_does_not_leave_once_one_of_its_patients_objects(federation: Federation) -> None:
    """The site stored its report and stopped before it left; when it is asked again, it is as if there were none."""
    wire = Wire()
    wire.change("south", "train", refuse)
    with federation.sums(wire) as sums:
        federation.collect(sums)
    (asked,) = (m for site, m, _ in wire.sent if (site, m.metadata.message_type) == ("south", "train"))
    _object(federation.sites["south"], str(small_table(2)[federation.plan.data.patient][0]))
    assert code_of(app(asked, federation.context("south"))) == "report_lost"
    log = federation.sites["south"].parent / "site.log"
    assert "since the stored report was made" in log.read_text()


def test_a_second_session_does_not_open_the_same_sum_over_other_patients(federation: Federation) -> None:
    """The difference of the two sums would be the patient who objected between them."""
    with federation.sums() as sums:
        assert federation.collect(sums).failed == {}
        sums.state.finish(sums.journal)
    _object(federation.sites["south"], str(small_table(2)[federation.plan.data.patient][0]))
    wire = Wire()
    with federation.sums(wire) as sums, pytest.raises(TooFewSites, match="opened_with_others"):
        federation.collect(sums)
    asked = [r for site, m, r in wire.sent if (site, m.metadata.message_type) == ("south", "train")]
    assert set(map(code_of, asked)) == {"rows_changed"}


def _object(path: Path, patient: str) -> None:
    content = tomllib.loads(path.read_text())
    content["data"]["exclude_patients"] = [patient]
    path.write_text(tomli_w.dumps(content))
    close_sessions()


def test_same_model_in_another_round_is_masked_anew_and_only_as_often_as_allowed(federation: Federation) -> None:
    wire = Wire()
    with federation.sums(wire) as sums:
        for _ in range(2):
            assert federation.collect(sums).failed == {}
            sums.state.finish(sums.journal)  # as a coordinator that gives the opened sum up
        with pytest.raises(TooFewSites, match="south: asked_again_too_often"):
            federation.collect(sums)
    sent = [
        data_of(r) for s, m, r in wire.sent if (s, m.metadata.message_type) == ("south", "train") if r.has_content()
    ]
    first, second = (np.frombuffer(data[:1600], dtype="<u4") for data in sent)
    assert (first == second).sum() <= 1


KILLED_IN_TRAINING = """
import os, signal, sys
import numpy as np
from client import work
from client.app import app
from flwr.app import Context, RecordDict
from server.exchange import Question
from server.identity import act_as_coordinator
toml, plan_hash, vector, protocol = sys.argv[1:]
work.train = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
act_as_coordinator()
question = Question("train", plan_hash, 1, 0, np.load(vector), bytes.fromhex(protocol))
app(question.to(1), Context(1, 1, {"site-config": toml}, RecordDict(), {}))
"""


def test_site_killed_in_training_sends_no_report_for_that_round_but_still_serves(
    federation: Federation, tmp_path: Path
) -> None:
    wire, lost = Wire(), []

    def killed(message: Message) -> None:
        lost.append(message)
        np.save(tmp_path / "vector.npy", message.content["arrays"]["vector"].numpy())
        header = dict(message.content["header"])
        arguments = [federation.sites["south"], header["plan_hash"], tmp_path / "vector.npy", header["protocol"].hex()]
        close_sessions()  # the other process is the site now: a ledger belongs to one
        done = subprocess.run([sys.executable, "-c", KILLED_IN_TRAINING, *map(str, arguments)], timeout=120)
        assert done.returncode == -signal.SIGKILL

    wire.instead["south", "train"] = killed
    with federation.sums(wire) as sums:
        sums.plan.aggregation.__dict__["round_timeout_s"] = 0.1
        total = federation.collect(sums)
        assert total.failed == {"south": "no_answer_in_time"}
        served = {m.metadata.message_type: r for s, m, r in wire.sent if s == "south"}
        assert served["query.crosscheck"].has_content() and served["query.unmask"].has_content()
        assert code_of(app(lost[0], federation.context("south"))) == "report_lost"
        wire.instead.clear()
        assert federation.collect(sums, shift=0.01).failed == {}, "the next round is not locked"


def test_randomness_is_the_operating_systems(federation: Federation) -> None:
    session = Session(load_site(federation.sites["south"]), federation.plan)
    assert session.secure.random is os.urandom
    session.close()


@pytest.mark.parametrize("kind", ["query.cards", "query.crosscheck", "query.unmask"])
def test_closed_session_answers_nothing(kind: str, federation: Federation, questions: dict[str, Message]) -> None:
    close = Question("query.close", federation.plan.hash, protocol=encode(CloseSession(_name(questions))))
    assert app(close.to(1), federation.context("south")).has_content()
    assert code_of(app(questions[kind], federation.context("south"))) == "session_erased"
    assert code_of(app(questions["train"], federation.context("south"))) == "session_erased"
    assert code_of(app(close.to(1), federation.context("south"))) == "session_erased"
