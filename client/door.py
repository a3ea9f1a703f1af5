"""The one door out of a hospital. No other module of `client` builds a Flower reply.

Order: policy -> work -> clip -> own book -> reply. (Noise, ledger, masks and signed receipts take their places here.)
Whatever goes wrong behind the door leaves as a code and a fixed sentence; the full story stays in the site's own log.
"""

import hashlib
import json
import logging
from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from numpy.typing import NDArray

from client.book import Entry
from client.refusals import CODES
from client.release import Acknowledgement, Declaration, Release, Statistics, Update
from client.request import Request
from client.session import LOGGER, Session, open_session
from common.errors import ConsiliumError, DataError, NonFiniteUpdate, PlanError, Refusal
from common.model import LEVELS
from common.privacy import clip_by_norm, l2_norm

Work = Callable[[Session, Request], Release]
_Sealed = tuple[RecordDict, bytes, dict[str, float | str]]


def answer(message: Message, context: Context, work: Work) -> Message:
    """The reply to `message`: what `work` releases, after policy, clipping and an entry in the site's own book."""
    log = logging.getLogger(LOGGER)
    try:
        session = open_session(context)
        log = session.log
        request = Request.of(message)
        _check_policy(session, request)
        release = work(session, request)
        body, content, details = _seal(session, release)
        digest = hashlib.sha256(content).hexdigest()
        session.book.write(Entry(request.step, request.digest, release.kind, len(content), digest, details))
        return Message(body, reply_to=message)
    except Exception as error:  # noqa: BLE001  the boundary: no exception may carry a patient's value out
        return refuse(message, error, log)


def refuse(message: Message, error: Exception, log: logging.Logger) -> Message:
    """A reply with nothing but a code and its fixed sentence; `error` goes to the site's own log."""
    code = _code(error)
    number, sentence = CODES[code]
    expected = isinstance(error, ConsiliumError)
    log.error("refused %s: %s: %s", message.metadata.message_type, code, error, exc_info=None if expected else error)
    return Message(Error(code=number, reason=f"{code}: {sentence}"), reply_to=message)


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
    session.book.check(request.step, request.digest)


def _seal(session: Session, release: Release) -> _Sealed:
    """The body that will leave, its bytes, and what the book says about it."""
    match release:
        case Declaration(site=site, levels=levels):
            blocks, values = list(levels), [float(level) for level in levels.values()]
            config = ConfigRecord({"site": site, "blocks": blocks, "levels": values})
            return RecordDict({"declaration": config}), json.dumps([site, blocks, values]).encode(), {}
        case Acknowledgement():
            return RecordDict({"received": ConfigRecord({"ok": True})}), b"", {}
        case Statistics(values=values, purpose=purpose):
            return _vector(values.astype(np.float64), {"purpose": purpose})
        case Update():
            return _vector(*_bounded(release, clip_norm=session.plan.aggregation.clip_norm))


def _bounded(update: Update, *, clip_norm: float) -> tuple[NDArray[np.float32], dict[str, float | str]]:
    """[weights x clipped update ; tallies ; norms], whose first part is never longer than `clip_norm`."""
    if not np.isin(update.weights, LEVELS).all():
        raise Refusal("site_error", "a weight is none of the declared levels.")
    clipped, before, after = clip_by_norm(update.delta, clip_norm=clip_norm)
    weighted = clipped * update.weights
    norms = [before, after, float(before > clip_norm), 1.0]
    vector = np.concatenate([weighted, update.tallies, norms]).astype(np.float32)
    return vector, {"norm_before_clip": before, "norm_after_clip": after, "norm_released": l2_norm(weighted)}


def _vector(vector: NDArray[np.floating], details: dict[str, float | str]) -> _Sealed:
    if not np.isfinite(vector).all():
        raise NonFiniteUpdate("a vector that was about to leave holds NaN or infinite values.")
    return RecordDict({"arrays": ArrayRecord({"vector": Array(vector)})}), vector.tobytes(), details
