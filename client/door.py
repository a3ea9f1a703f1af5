"""The one door out of a hospital. No other module of `client` builds a Flower reply.

Order: policy -> round begins -> work -> clip -> masks -> own book -> reply. (Noise, ledger and signed receipts take
their places here.) In a secure sum the store has the round before the work, and the masked bytes before they leave.
Whatever goes wrong behind the door leaves as a code and a fixed sentence; the full story stays in the site's own log.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from numpy.typing import NDArray

from client.book import Entry
from client.refusals import CODES
from client.release import Acknowledgement, Answer, Declaration, Nothing, Release, Statistics, Update
from client.request import PROTOCOL, Request
from client.secure import Round
from client.session import LOGGER, Session, open_session
from common.errors import ConsiliumError, DataError, NonFiniteUpdate, PlanError, Refusal
from common.model import LEVELS
from common.privacy import clip_by_norm, l2_norm

Work = Callable[[Session, Request], Release]
SUMMED = frozenset({"train", "evaluate", "query.survey"})
LONGEST = 2.0**20  # a norm beyond says that training diverged; more of it would only crowd the sum
Details = dict[str, float | str]
_Sealed = tuple[RecordDict, bytes, Details]


def answer(message: Message, context: Context, work: Work) -> Message:
    """The reply to `message`: what `work` releases, after policy, clipping and an entry in the site's own book."""
    log = logging.getLogger(LOGGER)
    try:
        session = open_session(context)
        log = session.log
        request = Request.of(message)
        _check_policy(session, request)
        begun = begin(session, request)
        if begun is not None:
            request = replace(request, blocks=begun.signed.header.blocks)
        if begun is not None and begun.stored:
            kind, (body, content, details) = "report_again", _bytes("report", begun.stored, {})
        else:
            release = _worked(session, request, work, begun)
            kind, (body, content, details) = release.kind, _seal(session, release, begun)
        digest = hashlib.sha256(content).hexdigest()
        entry = Entry(request.step, request.digest, kind, len(content), digest, details)
        session.book.write(entry, durable=request.step.kind not in PROTOCOL)
        return Message(body, reply_to=message)
    except Exception as error:  # noqa: BLE001  the boundary: no exception may carry a patient's value out
        return refuse(message, error, log)


def refuse(message: Message, error: Exception, log: logging.Logger) -> Message:
    """A reply with nothing but a code and its fixed sentence; `error` goes to the site's own log."""
    code = _code(error)
    number, sentence = CODES[code]
    expected = isinstance(error, ConsiliumError)
    log.error("refused %s: %s: %s", message.metadata.message_type, code, error, exc_info=None if expected else error)
    about = f" Site: {error.about}" if isinstance(error, Refusal) and error.about else ""
    return Message(Error(code=number, reason=f"{code}: {sentence}{about}"), reply_to=message)


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


def _check_policy(session: Session, request: Request) -> None:
    if request.step.plan_hash != session.plan.hash:
        asked, approved = request.step.plan_hash[:16], session.plan.hash[:16]
        raise Refusal("plan_not_approved", f"the coordinator asked for plan {asked}, this site approved {approved}.")
    if request.protocol and not session.plan.aggregation.secure:
        raise Refusal("malformed_request", "a message of secure aggregation, in a plan with plain sums.")
    if request.step.kind not in PROTOCOL:
        session.book.check(request.step, request.digest)


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
        session.log.error("nothing but zeros is sent: %s", error, exc_info=error)
        return Nothing(request.step.kind)


def _seal(session: Session, release: Release, begun: Round | None) -> _Sealed:
    """The body that will leave, its bytes, and what the book says about it."""
    details: Details
    match release:
        case Declaration(site=site, levels=levels, card=card):
            blocks, values = list(levels), [float(level) for level in levels.values()]
            config = ConfigRecord({"site": site, "blocks": blocks, "levels": values, "card": card})
            return RecordDict({"declaration": config}), json.dumps([site, blocks, values]).encode() + card, {}
        case Answer(data=data):
            return _bytes("answer", data, {})
        case Acknowledgement():
            return RecordDict({"received": ConfigRecord({"ok": True})}), b"", {}
        case Nothing():
            narrow, wide, details = np.zeros(0, dtype=np.float32), np.zeros(0), {"purpose": "nothing"}
        case Statistics(values=values, purpose=purpose):
            narrow, wide = np.zeros(0, dtype=np.float32), values.astype(np.float64)
            details = {"purpose": purpose}
        case Update():
            try:
                narrow, wide, details = _bounded(release, clip_norm=session.plan.aggregation.clip_norm)
            except NonFiniteUpdate as error:
                if begun is None:
                    raise
                session.log.error("nothing but zeros is sent: %s", error)
                return _seal(session, Nothing(release.kind), begun)
    if begun is not None:
        return _bytes("report", session.mask(begun, narrow, wide), details)
    if session.plan.aggregation.secure:
        raise Refusal("site_error", "values were about to leave in the open, though the plan says secure.")
    # In the open, tallies are as exact as an update: no count of a site comes near 2^24.
    vector = np.concatenate([narrow, wide]).astype(np.float32) if len(narrow) else wide
    return _vector(vector, details)


def _bounded(update: Update, *, clip_norm: float) -> tuple[NDArray[np.float32], NDArray[np.float64], Details]:
    """weights x clipped update, never longer than `clip_norm`; then [tallies ; norms]."""
    if not np.isin(update.weights, LEVELS).all():
        raise Refusal("site_error", "a weight is none of the declared levels.")
    # In the update's own memory: with 10 M parameters a copy is 40 MB, and nobody reads the update after this.
    weighted, before, after = clip_by_norm(update.delta, clip_norm=clip_norm, in_place=True)
    weighted *= update.weights
    wide = np.concatenate([update.tallies, [min(before, LONGEST), after, float(before > clip_norm), 1.0]])
    return weighted, wide, {"norm_before_clip": before, "norm_after_clip": after, "norm_released": l2_norm(weighted)}


def _bytes(name: str, data: bytes, details: Details) -> _Sealed:
    array = Array("uint8", (len(data),), "bytes", data)
    return RecordDict({"arrays": ArrayRecord({name: array})}), data, details


def _vector(vector: NDArray[np.floating], details: Details) -> _Sealed:
    if not np.isfinite(vector).all():
        raise NonFiniteUpdate("a vector that was about to leave holds NaN or infinite values.")
    return RecordDict({"arrays": ArrayRecord({"vector": Array(vector)})}), vector.tobytes(), details
