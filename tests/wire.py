"""What passed between a coordinator and its sites, held against the receipts in the sites' ledgers."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message

from client.ledger.reading import read_bodies
from tests.messages import code_of, kind
from tests.secure import Federation, Grid, Wire, name_of

PAID = ("query.declare", "query.survey", "query.compare", "train", "evaluate")
"""Questions of which every answer tells something about patients."""


@dataclass(frozen=True)
class Passed:
    """One reply of one site. code: of a refusal. bytes: how many, and sha256: of which, the release has."""

    kind: str
    code: str
    sha256: str
    bytes: int

    @staticmethod
    def of(reply: Message) -> "Passed":
        content = b"" if reply.has_error() else content_of(reply)
        return Passed(kind(reply), code_of(reply), hashlib.sha256(content).hexdigest(), len(content))


def content_of(reply: Message) -> bytes:
    """The values, report, answer or declaration in a reply, in which nothing else is; empty for an acknowledgement."""
    (record,) = reply.content.values()
    if isinstance(record, ArrayRecord):
        ((name, array),) = record.items()
        return array.numpy().tobytes() if name == "vector" else bytes(array.data)
    assert isinstance(record, ConfigRecord)
    if dict(record) == {"ok": True}:
        return b""
    if set(record) == {"code"}:
        return str(record["code"]).encode()
    assert set(record) == {"site", "blocks", "levels", "card"}
    return json.dumps([record["site"], record["blocks"], record["levels"]]).encode() + bytes(record["card"])


class Recorder(Grid):
    """A grid that keeps every question and reply that comes through it, by site, in the order of the replies."""

    passed: dict[str, list[tuple[Message, Message]]]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        wanted = list(message_ids)
        questions = {name: self._waiting[name] for name in wanted if name in self._waiting}
        replies = super().pull_messages(wanted)
        for reply in replies:
            question = questions[reply.metadata.reply_to_message_id]
            site = name_of(self._contexts[question.metadata.dst_node_id])
            self.passed.setdefault(site, []).append((question, reply))
        return replies


def assert_receipts_are_what_passed(ledger: Path, passed: Sequence[Passed]) -> list[dict[str, Any]]:
    """One receipt for each reply, in order, with its hash and size, and an entry before it where it costs something.

    Returns the receipts.
    """
    records = read_bodies(ledger)
    receipts = [(number, body) for number, body in enumerate(records, start=1) if body["record"] == "receipt"]
    told = [(body["step"]["kind"], body["code"]) for _, body in receipts]
    assert told == [(each.kind, each.code) for each in passed]
    paid_with: dict[int, str] = {}
    for (number, receipt), sent in zip(receipts, passed, strict=True):
        if sent.code:
            assert (receipt["release"], receipt["sha256"], receipt["bytes"], receipt["entry"]) == ("", "", 0, None)
            continue
        assert receipt["release"] and (receipt["sha256"], receipt["bytes"]) == (sent.sha256, sent.bytes)
        assert (receipt["entry"] is not None) == (sent.kind in PAID), receipt
        if receipt["entry"] is not None:
            entry = records[receipt["entry"] - 1]
            assert receipt["entry"] < number and entry["record"] == "entry" and entry["step"] == receipt["step"]
            assert paid_with.setdefault(receipt["entry"], sent.sha256) == sent.sha256, "one entry, two releases"
    return [receipt for _, receipt in receipts]


def asked_in_a_sum(federation: Federation, name: str) -> dict[str, Message]:
    """kind -> what the site of this name was asked in one sum, and has answered."""
    wire = Wire()
    with federation.sums(wire) as sums:
        federation.collect(sums)
    return {message.metadata.message_type: message for site, message, _ in wire.sent if site == name}


def protocol_of(message: Message) -> bytes:
    """The message of secure aggregation in a question: in its header, or as an array where it is long."""
    arrays = message.content.array_records.get("arrays", {})
    return arrays["protocol"].data if "protocol" in arrays else message.content["header"]["protocol"]
