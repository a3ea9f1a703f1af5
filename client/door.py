"""The one door out of a hospital. No other module of `client` builds a Flower reply.

Order: policy -> clip -> own book -> reply. (Noise, ledger, masks and signed receipts take their places here.) Whatever
goes wrong behind the door leaves as a code and a fixed sentence; the full story stays in the site's own log.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict

from client.refusals import CODES
from client.release import Acknowledgement, Declaration, Entry, Release, Statistics, Update
from client.request import Request
from client.session import Session, open_session
from common.errors import DataError, NonFiniteUpdate, PlanError, Refusal
from common.privacy import clip_by_norm

Work = Callable[[Session, Request], Release]
_BOOK = "releases.jsonl"
_log = logging.getLogger("consilium.site")


def answer(message: Message, context: Context, work: Work) -> Message:
    """The reply to `message`: what `work` releases, after policy, clipping and an entry in the site's own book."""
    try:
        request = Request.of(message)
        session = open_session(context)
        _check_policy(session, request)
        record, entry = _seal(session, request, work(session, request))
        _write_entry(session.config.folder / _BOOK, entry)
        return Message(record, reply_to=message)
    except Refusal as refusal:
        return _refuse(message, refusal.code, refusal)
    except NonFiniteUpdate as error:
        return _refuse(message, "update_not_finite", error)
    except DataError as error:
        return _refuse(message, "data_not_ready", error)
    except PlanError as error:
        return _refuse(message, "site_not_ready", error)
    except Exception as error:  # noqa: BLE001  the boundary: no exception may carry a patient's value out
        return _refuse(message, "site_error", error)


def _check_policy(session: Session, request: Request) -> None:
    if request.plan_hash != session.plan.hash:
        raise Refusal(
            "plan_not_approved",
            f"the coordinator asked for plan {request.plan_hash[:16]}, this site approved {session.plan.hash[:16]}.",
        )


def _seal(session: Session, request: Request, release: Release) -> tuple[RecordDict, Entry]:
    """The body that will leave, and the book's entry about it."""
    if isinstance(release, Declaration):
        blocks, levels = list(release.levels), [float(level) for level in release.levels.values()]
        config = ConfigRecord({"site": release.site, "blocks": blocks, "levels": levels})
        content = json.dumps([release.site, blocks, levels]).encode()
        return RecordDict({"declaration": config}), _entry(release, request, content)
    if isinstance(release, Acknowledgement):
        return RecordDict({"received": ConfigRecord({"ok": True})}), _entry(release, request, b"")
    if isinstance(release, Update):
        clip_norm = session.plan.aggregation.clip_norm
        clipped, before, after = clip_by_norm(release.delta, clip_norm=clip_norm)
        norms = [before, after, float(before > clip_norm), 1.0]
        vector = np.concatenate([clipped * release.weights, release.tallies, norms]).astype(np.float32)
        return _vector(vector, release, request, norm_before_clip=before, norm_after_clip=after)
    return _vector(release.values.astype(np.float64), release, request, purpose=release.purpose)


def _vector(
    vector: np.ndarray, release: Update | Statistics, request: Request, **details: float | str
) -> tuple[RecordDict, Entry]:
    if not np.isfinite(vector).all():
        raise NonFiniteUpdate("a vector that was about to leave holds NaN or infinite values.")
    record = RecordDict({"arrays": ArrayRecord({"vector": Array(vector)})})
    return record, _entry(release, request, vector.tobytes(), **details)


def _entry(release: Release, request: Request, content: bytes, **details: float | str) -> Entry:
    return Entry(release.kind, request.round, len(content), hashlib.sha256(content).hexdigest(), dict(details))


def _write_entry(book: Path, entry: Entry) -> None:
    """Append to the site's own book before anything leaves; if that fails, nothing leaves."""
    try:
        with open(book, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refusal("cannot_record", f"{book}: cannot be written: {error.strerror or error}.") from None


def _refuse(message: Message, code: str, error: Exception) -> Message:
    number, sentence = CODES[code]
    unexpected = code == "site_error"
    _log.error("refused %s: %s: %s", message.metadata.message_type, code, error, exc_info=error if unexpected else None)
    return Message(Error(code=number, reason=f"{code}: {sentence}"), reply_to=message)
