"""The signed chain: each record names the hash of the one before it and is signed with the site's key.

Whoever holds the site's public key can check a chain from its first record to its last, without the site. What cannot
be seen in a chain is that records at its end are missing; the ledger's place tells that at the site (place.py).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from common.secagg.primitives import SigningKey, verify

START = bytes(32)
"""The hash before the first record."""
KEY = "key"
"""A record that names the key with which it and the records after it are signed."""
_CONTEXT = b"consilium/1/ledger\0"


@dataclass(frozen=True)
class Record:
    """number: 1, 2, 3, … place: the mark of the ledger's place, empty where it has none. body: canonical JSON."""

    number: int
    previous: bytes
    place: bytes
    body: bytes
    signature: bytes = b""

    @property
    def signed(self) -> bytes:
        """The bytes that are hashed and signed; no two records share them."""
        number, sizes = self.number.to_bytes(8, "big"), len(self.place).to_bytes(4, "big")
        return _CONTEXT + number + self.previous + sizes + self.place + self.body

    @property
    def hash(self) -> bytes:
        return sha256(self.signed).digest()

    @property
    def content(self) -> dict[str, Any]:
        """The body. Raises ValueError unless it is the canonical JSON of an object that says what it is."""
        content = json.loads(self.body)
        if not isinstance(content, dict) or "record" not in content or canonical(content) != self.body:
            raise ValueError("not the canonical JSON of a record")
        return content


@dataclass(frozen=True)
class Broken:
    """The first thing that is wrong. number: of the record; None where it is the file itself."""

    number: int | None
    text: str

    def __str__(self) -> str:
        return f"{'the file' if self.number is None else f'record {self.number}'}: {self.text}"


def canonical(content: dict[str, Any]) -> bytes:
    """The one JSON text of `content`: keys sorted, no spaces, ASCII. Raises ValueError for NaN and infinity."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def follow(last: Record | None, content: dict[str, Any], place: bytes, key: SigningKey) -> Record:
    """The record after `last`, signed."""
    number, previous = (1, START) if last is None else (last.number + 1, last.hash)
    record = Record(number, previous, place, canonical(content))
    return Record(number, previous, place, record.body, key.sign("receipt", record.signed))


def check_hashes(records: Iterable[Record], last: Record | None = None) -> Broken | None:
    """Numbers and hashes of `records`, which follow `last`: quick, but blind for the last one and for signatures."""
    for record in records:
        broken = _misplaced(record, last)
        if broken is not None:
            return broken
        last = record
    return None


def check_chain(records: Iterable[Record], verify_key: bytes | None) -> Broken | None:
    """The first record that is not what the site wrote, in the order of the numbers.

    verify_key: with which the last record has to be signed, the site's present one; None takes the word of the
    records themselves. Earlier records are signed with the key that the `key` record before them names: whoever
    signed the last one has signed, through the hashes, all of this.
    """
    last, key = None, b""
    for record in records:
        broken = _misnumbered(record, last)
        if broken is not None:
            return broken
        key = _key_named(record) or key
        if not verify(key, "receipt", record.signed, record.signature):
            return Broken(record.number, "was changed: its signature is not that of the site's key over what it says.")
        broken = _misplaced(record, last)
        if broken is not None:
            return broken
        last = record
    if last is not None and verify_key is not None and key != verify_key:
        return Broken(last.number, "is signed with another key than the one given.")
    return None


def _key_named(record: Record) -> bytes:
    try:
        content = record.content
        return bytes.fromhex(content["key"]) if content["record"] == KEY else b""
    except (ValueError, KeyError, TypeError):
        return b""


def _misnumbered(record: Record, last: Record | None) -> Broken | None:
    due = 1 if last is None else last.number + 1
    return None if record.number == due else Broken(due, f"is missing; record {record.number} is the next one.")


def _misplaced(record: Record, last: Record | None) -> Broken | None:
    before = START if last is None else last.hash
    if record.previous != before:
        return _misnumbered(record, last) or Broken(record.number, "does not follow the record before it.")
    return _misnumbered(record, last)
