"""No request draws values out of a site in a secure plan, and whether a site reports says nothing of its values."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message

from client import work
from client.app import app
from client.request import KINDS
from client.secure import answers as secure
from client.session import Session
from client.sessions import close_sessions
from common.associations import STAGE, Associations
from common.broadcast import Broadcast
from common.contribution import STAGES, Contribution
from common.evaluation import Evaluation
from common.model import Layout, Normaliser
from common.secagg.encoding import encode
from common.secagg.fixedpoint import MOST
from common.secagg.messages import Header, SignedHeader
from common.survey import Survey
from server.exchange import Question
from server.secure_sum import SecureSum
from tests.messages import code_of, data_of, kind
from tests.secure import Federation, Wire, broadcast, build

SECRET = "patient-Ada-Lovelace-4711"
SUMMED = [(asked, stage) for asked, stages in STAGES.items() for stage in stages]


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    yield build(tmp_path, 4)
    close_sessions()


def _vector(federation: Federation, asked: str, stage: int) -> np.ndarray:
    plan, honest = federation.plan, broadcast(federation.plan)
    if asked == "query.survey" and stage == STAGE:
        return Associations(plan).edges_of(Survey(plan).first_edges()).ravel()
    if asked == "query.survey":
        return Survey(plan).first_edges().ravel()
    if stage == 0:
        return honest
    bins = plan.evaluation.histogram_bins
    received = honest[: Layout(plan).parameters + Normaliser.size(plan)]
    columns = Evaluation(plan, bins, True).score_columns
    return np.concatenate([received, np.tile(np.linspace(-3, 3, bins - 1, dtype="f4"), columns)])


def _question(federation: Federation, sums: SecureSum, asked: str, stage: int, vector=None, **changes) -> Question:
    """With a header that the coordinator has signed; changes: of its fields."""
    number = int(asked == "train")
    vector = _vector(federation, asked, stage) if vector is None else vector
    question = Question(asked, federation.plan.hash, number, stage, vector)
    contribution = Contribution(federation.plan, asked, stage)
    header: Header = sums._header(question, contribution, tuple(sorted(federation.sites)), b"asked").header
    sums.state.finish(sums.journal)
    header = replace(header, **changes)
    signed = SignedHeader(header, federation.keys.key.sign("header", header))
    return replace(question, round=header.training_round, protocol=encode(signed))


def _floats(reply: Message) -> list[str]:
    if reply.has_error():
        return []
    arrays = [
        array for record in reply.content.values() if isinstance(record, ArrayRecord) for array in record.values()
    ]
    return [array.dtype for array in arrays if array.dtype != "uint8"]


DISPATCHED = sorted({*KINDS, *app._registered_funcs, "train.default", "evaluate.default", "train.x", "evaluate.x"})


@pytest.mark.parametrize("name", DISPATCHED)
def test_every_kind_of_message_gives_a_report_or_a_refusal(name: str, federation: Federation) -> None:
    """Each with the question, the header and the vector of every sum, at every site's handler that Flower finds."""
    with federation.sums() as sums:
        for asked, stage in SUMMED:
            for protocol in (True, False):
                question = replace(_question(federation, sums, asked, stage), kind=name)
                question = question if protocol else replace(question, protocol=b"")
                reply = app(question.to(1), federation.context("south"))
                assert _floats(reply) == []
                if name == asked and protocol:
                    assert list(reply.content["arrays"]) == ["report"]
                elif name not in ("query.declare", "query.finish"):
                    assert reply.has_error() and not reply.has_content(), (asked, stage)
                if name not in KINDS:
                    assert code_of(reply) == "malformed_request"


@pytest.mark.parametrize(("asked", "stage"), [pair for pair in SUMMED if pair[0] != "train"])
def test_round_one_outside_training_is_refused(asked: str, stage: int, federation: Federation) -> None:
    with federation.sums() as sums:
        question = _question(federation, sums, asked, stage, training_round=1)
        assert code_of(app(question.to(1), federation.context("south"))) == "malformed_request"
        question = _question(federation, sums, asked, stage)
        assert app(question.to(1), federation.context("south")).has_content()


@pytest.mark.parametrize(("flags", "at"), [("available", 0), ("available", 3), ("task_available", 1)])
@pytest.mark.parametrize("asked", ["train", "evaluate"])
def test_normaliser_that_leaves_out_a_block_of_the_header_is_refused(
    asked: str, flags: str, at: int, federation: Federation
) -> None:
    honest = _vector(federation, asked, 0)
    layout, plan = Contribution(federation.plan, asked).layout, federation.plan
    edges = len(honest) - layout.parameters - Normaliser.size(plan)
    bins = plan.evaluation.round_bins
    received = Broadcast.from_vector(honest, layout, columns=edges // (bins - 1), bins=bins)
    left = getattr(received.normaliser, flags).copy()
    left[at] = 0.0
    vector = replace(received, normaliser=replace(received.normaliser, **{flags: left})).to_vector()
    number = {"available": 1 + len(plan.tasks), "task_available": 1}[flags] + at
    names = layout.block_names
    out = [number] if flags == "available" else [number, names.index(f"mean:{plan.tasks[at].name}")]
    context = federation.context("south")
    with federation.sums() as sums:
        refused = _question(federation, sums, asked, 0, vector)
        assert code_of(app(refused.to(1), context)) == "malformed_request"
        blocks = tuple(block for block in range(len(names)) if block not in out)
        pairs = tuple(p for p in Contribution(plan, asked).pairs if set(divmod(p, len(names))) <= set(blocks))
        taken = _question(federation, sums, asked, 0, vector, blocks=blocks, pairs=pairs)
        assert app(taken.to(1), context).has_content()


Put = dict[str, tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """site -> what it put under its masks last."""
    found: Put = {}
    make = secure.report.make_report

    def making(party, session, state, contribution, *, random):
        found[party.site] = contribution.narrow.copy(), contribution.wide.copy()
        return make(party, session, state, contribution, random=random)

    monkeypatch.setattr(secure.report, "make_report", making)
    return found


def _sizes(wire: Wire) -> dict[str, int]:
    """site -> bytes of its report."""
    return {site: len(data_of(reply)) for site, message, reply in wire.sent if kind(message) == "train"}


@pytest.fixture
def size(federation: Federation) -> dict[str, int]:
    """Bytes of each site's honest report of training."""
    wire = Wire()
    with federation.sums(wire) as sums:
        federation.collect(sums)
    return _sizes(wire)


def test_values_beyond_the_fixed_point_are_sent_as_its_largest(
    federation, size: dict[str, int], put: Put, monkeypatch
) -> None:
    seen: list[float] = []
    mask: Callable[..., bytes] = Session.mask

    def masking(session, begun, narrow, wide):
        seen.append(float(np.abs(wide).max(initial=0.0)))
        return mask(session, begun, narrow, wide)

    monkeypatch.setattr(Session, "mask", masking)
    wire = Wire()
    with federation.sums(wire) as sums:
        total = federation.collect(sums, shift=1e9)
    assert total.failed == {} and _sizes(wire) == size and set(put) == set(federation.sites)
    assert min(seen) > MOST, "the log loss of one site is beyond what a tally may be"
    assert all(np.abs(wide).max() == MOST for _, wide in put.values())


def test_training_that_diverges_sends_zeros(federation: Federation, size: dict[str, int], put: Put) -> None:
    wire = Wire()
    with federation.sums(wire) as sums:
        total = federation.collect(sums, shift=1e30)
    assert total.failed == {} and _sizes(wire) == size
    assert set(put) == set(federation.sites)
    assert not any(narrow.any() or wide.any() for narrow, wide in put.values())
    assert not total.total.any()


@pytest.mark.parametrize("error", [ValueError(SECRET), MemoryError(SECRET), KeyError(SECRET)], ids=repr)
def test_failure_within_a_round_is_known_to_the_site_alone(
    error, federation, size: dict[str, int], put: Put, monkeypatch
) -> None:
    train, wire = work.train, Wire()

    def fail(session, request):
        if session.config.name == "south":
            raise error
        return train(session, request)

    monkeypatch.setattr(work, "train", fail)
    with federation.sums(wire) as sums:
        total = federation.collect(sums, shift=0.25)
    assert total.failed == {} and total.sites == tuple(sorted(federation.sites)) and _sizes(wire) == size
    assert not any(part.any() for part in put["south"]) and put["north"][0].any()
    close_sessions()
    files = [path for path in federation.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert files == [], "what the text of a foreign error says may be a patient's"
    assert f"{type(error).__name__} at " in (federation.sites["south"].parent / "site.log").read_text()
    assert not any(
        SECRET in repr(reply) or SECRET.encode() in data_of(reply) for _, _, reply in wire.sent if _data(reply)
    )


def _data(reply: Message) -> bool:
    return reply.has_content() and "arrays" in reply.content
