"""The one door out of a hospital. No other module of `client` builds a Flower reply.

Order: gate (brake, plan, approval, policy) -> secure round begins -> budget -> work -> gate again -> clip -> ledger ->
noise -> masks -> gate again -> receipt -> reply. In a secure sum the store has the round before the work, and the
masked bytes before they leave. Whatever goes wrong behind the door leaves as a code and a fixed sentence; the story
stays in the site's own log.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from numpy.typing import NDArray

from client import gate
from client.ledger.daily import MOST_A_DAY, Daily
from client.ledger.receipts import Entry, Receipt
from client.own_log import story
from client.refusals import CODES
from client.release import Acknowledgement, Answer, Declaration, Nothing, Opinion, Release, Statistics, Update
from client.request import Request
from client.secure.answers import Round
from client.session import LOGGER, Session
from client.sessions import open_session
from client.training.bounds import Norms, bounded
from common.errors import DataError, NonFiniteUpdate, PlanError, Refusal

Work = Callable[[Session, Request], Release]
SUMMED = frozenset({"train", "evaluate", "query.survey"})


@dataclass(frozen=True)
class _Sealed:
    """What is about to leave: its kind, body and bytes, the norms of an update, and the entry that pays for it."""

    kind: str
    body: RecordDict
    content: bytes
    norms: Norms = field(default_factory=dict)
    entry: int | None = None
    noise: str = "none"


def answer(message: Message, context: Context, work: Work) -> Message:
    """The reply to `message`: what `work` releases, after every rule of this site, with an entry and a receipt."""
    log = logging.getLogger(LOGGER)
    asked: tuple[Session, Request] | None = None
    try:
        session = open_session(context)
        log = session.log
        request = Request.of(message)
        asked = session, request
        gate.check(session, request)
        begun = begin(session, request)
        if begun is not None:
            request = replace(request, blocks=begun.signed.header.blocks)
        if begun is not None and begun.stored:
            sealed = _again(session, request, begun)
        else:
            entry = gate.entry(session, request)
            gate.afford(session, entry)
            release = _worked(session, request, work, begun)
            gate.check_still(session)  # before a budget is charged for what does not leave
            sealed = _seal(session, release, begun, entry)
        gate.check_still(session)
        session.ledger.write_receipt(_receipt(session, request, sealed))
        return Message(sealed.body, reply_to=message)
    except Exception as error:  # noqa: BLE001  the boundary: no exception may carry a patient's value out
        return refuse(message, error, log, asked)


def refuse(
    message: Message, error: Exception, log: logging.Logger, asked: tuple[Session, Request] | None = None
) -> Message:
    """A reply with nothing but a code and its fixed sentence; `error` goes to the site's own log."""
    code = _code(error)
    number, sentence = CODES[code]
    told = _TOLD.add(f"{log.name} {code}", datetime.now(UTC).date().isoformat())
    if told <= MOST_A_DAY:
        last = " No more of this code are written today." if told == MOST_A_DAY else ""
        log.error("refused %s: %s: %s%s", message.metadata.message_type, code, story(error), last)
    if asked is not None:
        with suppress(Exception):  # where the ledger cannot be opened, the code is all that there is to say
            session, request = asked
            session.ledger.write_refusal(replace(_receipt(session, request, _NOTHING), code=code))
    about = f" Site: {error.about}" if isinstance(error, Refusal) and error.about else ""
    return Message(Error(code=number, reason=f"{code}: {sentence}{about}"), reply_to=message)


_NOTHING = _Sealed("", RecordDict(), b"")
_TOLD = Daily()


def _code(error: Exception) -> str:
    match error:
        case Refusal(code=code) if code in CODES:
            return code
        case NonFiniteUpdate():
            return "update_not_finite"
        case DataError():
            return "data_not_ready"
        case PlanError():
            return "site_not_ready"
        case _:
            return "site_error"


def begin(session: Session, request: Request) -> Round | None:
    """The secure round to which a request for values belongs; None for other requests, and in a plan with plain sums.

    Raises Refusal: in a plan with secure sums nothing is added up without a round.
    """
    if request.step.kind not in SUMMED or not session.plan.aggregation.secure:
        return None
    contribution = session.contribution(request.step.kind, request.stage)
    begun = session.secure.begin(
        request.protocol,
        contribution,
        training_round=request.round,
        model=request.model,
        subject=contribution.subject(request.vector),
    )
    begun.check_declared(list(session.levels.values()))
    return begun


def _worked(session: Session, request: Request, work: Work, begun: Round | None) -> Release:
    """What `work` releases; in a secure round, zeros where it fails on what the data hold.

    Whether a site reports must not depend on its values: a coordinator that chooses the model could read a row from
    refusals alone. What depends on the request only is still refused.
    """
    try:
        return work(session, request)
    except Refusal:
        raise
    except Exception as error:
        if begun is None:
            raise
        session.log.error("nothing but zeros is sent: %s", story(error))
        return Nothing(request.step.kind)


def _again(session: Session, request: Request, begun: Round) -> _Sealed:
    """The stored report, as it is, of rows that are still this site's. One that stopped before it paid pays now."""
    begun.check_rows(session.dataset)
    entry = gate.entry(session, request)
    number = _spend(session, entry, begun)
    return replace(_bytes("report", begun.stored), kind="report_again", entry=number, noise=_noise(entry))


def _seal(session: Session, release: Release, begun: Round | None, entry: Entry | None) -> _Sealed:
    """The body that will leave and its bytes. Before values are made to leave, their entry is in the ledger."""
    norms: Norms = {}
    match release:
        case Answer(data=data, kind=kind):
            return replace(_bytes("answer", data), kind=kind)
        case Acknowledgement(kind=kind):
            return _Sealed(kind, RecordDict({"received": ConfigRecord({"ok": True})}), b"")
        case Opinion(code=code, kind=kind):
            body = RecordDict({"opinion": ConfigRecord({"code": code})})
            return _Sealed(kind, body, code.encode(), entry=_spend(session, entry, begun))
        case Declaration():
            return replace(_declared(release), entry=_spend(session, entry, begun))
        case Nothing():
            narrow, wide = np.zeros(0, dtype=np.float32), np.zeros(0)
        case Statistics(values=values):
            narrow, wide = np.zeros(0, dtype=np.float32), values.astype(np.float64)
            if begun is None and entry is not None:
                wide = session.noised(entry.step.kind, entry.step.stage, wide)
        case Update():
            rules = session.plan
            try:
                narrow, wide, norms = bounded(
                    release, clip_norm=rules.aggregation.clip_norm, show_norms=not rules.privacy.noise_in_sum
                )
            except NonFiniteUpdate as error:
                if begun is None:
                    _spend(session, entry, begun)  # that it is not finite is told, and is a release
                    raise
                session.log.error("nothing but zeros is sent: %s", story(error))
                return _seal(session, Nothing(release.kind), begun, entry)
    number = _spend(session, entry, begun)
    if begun is not None:
        sealed = _bytes("report", session.mask(begun, narrow, wide))
    elif session.plan.aggregation.secure:
        raise Refusal("site_error", "values were about to leave in the open, though the plan says secure.")
    else:
        # In the open, tallies are as exact as an update: no count of a site comes near 2^24.
        sealed = _vector(np.concatenate([narrow, wide]).astype(np.float32) if len(narrow) else wide)
    return replace(sealed, kind=release.kind, norms=norms, entry=number, noise=_noise(entry))


def _spend(session: Session, entry: Entry | None, begun: Round | None) -> int | None:
    if entry is None:
        return None
    again = b"" if begun is None else begun.state.header_hash
    return session.ledger.spend(entry, again=again, within=gate.budget(session))


def _noise(entry: Entry | None) -> str:
    return "none" if entry is None else gate.in_words(entry.spent)


def _receipt(session: Session, request: Request, sealed: _Sealed) -> Receipt:
    return Receipt(
        recipient=session.plan.federation.name,
        step=request.step,
        request=request.digest,
        release=sealed.kind,
        bytes=len(sealed.content),
        sha256=hashlib.sha256(sealed.content).hexdigest() if sealed.kind else "",
        norm_before_clip=sealed.norms.get("norm_before_clip"),
        norm_after_clip=sealed.norms.get("norm_after_clip"),
        noise=sealed.noise,
        secure=session.plan.aggregation.secure,
        entry=sealed.entry,
        details={key: value for key, value in sealed.norms.items() if key == "norm_released"},
    )


def _declared(release: Declaration) -> _Sealed:
    blocks, values = list(release.levels), [float(level) for level in release.levels.values()]
    config = ConfigRecord({"site": release.site, "blocks": blocks, "levels": values, "card": release.card})
    content = json.dumps([release.site, blocks, values]).encode() + release.card
    return _Sealed(release.kind, RecordDict({"declaration": config}), content)


def _bytes(name: str, data: bytes) -> _Sealed:
    array = Array("uint8", (len(data),), "bytes", data)
    return _Sealed(name, RecordDict({"arrays": ArrayRecord({name: array})}), data)


def _vector(vector: NDArray[np.floating]) -> _Sealed:
    if not np.isfinite(vector).all():
        raise NonFiniteUpdate("a vector that was about to leave holds NaN or infinite values.")
    return _Sealed("vector", RecordDict({"arrays": ArrayRecord({"vector": Array(vector)})}), vector.tobytes())
