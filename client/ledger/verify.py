"""Is a ledger, or an export of one, what the site wrote? The first record that is not is named, with what is wrong.

Reading changes nothing, also while the site's client is running.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.ledger.chain import Broken, Record, canonical, check_chain
from client.ledger.file import TABLES, reading, records_of
from client.ledger.memory import Memory
from client.ledger.place import Place, number_of
from common.errors import ConsiliumError
from common.files import exists, read_bytes

_PAGE = 4096  # bytes, with which SQLite begins
_FIELDS = {"number": int, "previous": str, "place": str, "body": dict, "signature": str}


@dataclass(frozen=True)
class Report:
    """What was found. records: all that can be read. broken: the first thing that is wrong. notes: worth knowing."""

    records: tuple[Record, ...]
    broken: Broken | None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.broken is None

    def of(self, kind: str) -> Iterator[tuple[Record, dict[str, Any]]]:
        """The records of one kind that come before anything broken, each with its body."""
        whole = self.broken.number - 1 if self.broken and self.broken.number else None  # they are numbered from 1
        for record in self.records[:whole]:
            if record.content["record"] == kind:
                yield record, record.content


def verify_ledger(path: Path, verify_key: bytes | None) -> Report:
    """Everything there is to check: SQLite's own structure, numbers, hashes, signatures, and each receipt's entry.

    verify_key: the site's public key, 32 bytes; None takes the word of the ledger for it, which shows damage but not
    a forgery. Raises ConsiliumError where there is no file.
    """
    if not exists(path):
        raise ConsiliumError(f"{path}: no such file; a site's ledger begins with its first release.")
    records: list[Record] = []
    seen = Place(path).names()  # before the records: a client that is running may add one meanwhile
    broken = _read(path, records)
    broken = _first(_check(records, verify_key), broken)
    missing = _missing(seen, records)
    return Report(tuple(records), broken or missing, () if broken or missing else _notes(Place(path), seen, records))


def verify_export(path: Path, verify_key: bytes | None) -> Report:
    """The same for the file of `consilium site receipts export`; it needs nothing else of the site."""
    records: list[Record] = []
    for line in read_bytes(path).splitlines():
        try:
            records.append(from_line(line))
        except ValueError as error:
            due = len(records) + 1
            return Report(tuple(records), _check(records, verify_key, whole=False) or Broken(due, f"{error}."))
    return Report(tuple(records), _check(records, verify_key))


def verify_continued(report: Report, export: Report) -> Report:
    """`report` of a ledger, broken where it does not begin with the records of an earlier export of it."""
    here = {record.number: record for record in report.records}
    for record in export.records:
        if here.get(record.number) != record:
            change = "is not the one that was exported." if record.number in here else "was exported, and is missing."
            if report.broken is None or (report.broken.number or record.number) > record.number:
                return Report(report.records, Broken(record.number, change), report.notes)
            break
    return report


def to_line(record: Record) -> bytes:
    """A record as one line of JSON, with everything that its signature covers."""
    fields = {
        "number": record.number,
        "previous": record.previous.hex(),
        "place": record.place.decode(),
        "body": record.content,
        "signature": record.signature.hex(),
    }
    return json.dumps(fields).encode() + b"\n"


def from_line(line: bytes) -> Record:
    """Raises ValueError for anything but what `to_line` makes."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not a line of JSON") from None
    if not isinstance(fields, dict) or {key: type(value) for key, value in fields.items()} != _FIELDS:
        raise ValueError(f"does not have the keys {', '.join(_FIELDS)}")
    try:
        previous, signature = (bytes.fromhex(fields[key]) for key in ("previous", "signature"))
        place, body = fields["place"].encode(), canonical(fields["body"])
    except ValueError:  # other digits than hexadecimal ones, half characters
        raise ValueError("has a hash, signature or text as no ledger writes it") from None
    if not 0 < fields["number"] < 2**63 or len(previous) != 32:
        raise ValueError("has no number or hash as records have")
    return Record(fields["number"], previous, place, body, signature)


def _read(path: Path, records: list[Record]) -> Broken | None:
    """Read what can be read, in order; what SQLite itself has to complain about."""
    if not path.is_file():
        return Broken(None, "is not an ordinary file.")
    try:
        with reading(path) as database:
            tables = [row[0] for row in database.execute("SELECT sql FROM sqlite_master ORDER BY rowid")]
            if not tables and path.stat().st_size <= _PAGE:
                return None  # the client was stopped before it made the tables
            if tables != [text.encode() for text in TABLES]:
                return Broken(None, "its tables are not those of a ledger.")
            records.extend(records_of(database))
            problems = [str(row[0], "utf-8", "replace") for row in database.execute("PRAGMA integrity_check(1)")]
            return None if problems == ["ok"] else Broken(None, f"{' '.join(problems[0].split())}.")
    except (sqlite3.Error, OverflowError) as error:
        return Broken(None, f"SQLite cannot read it: {error}.")


def _first(chain: Broken | None, file: Broken | None) -> Broken | None:
    """A record says more than a file: where a page cannot be read, the records of the ones before it are whole."""
    return chain or file


def _check(records: list[Record], verify_key: bytes | None, *, whole: bool = True) -> Broken | None:
    """whole: the last of `records` is the chain's last, so that it has to be signed with the present key."""
    broken = check_chain(records, verify_key if whole else None)
    memory = Memory()
    for record in records[: broken.number - 1 if broken and broken.number else None]:
        try:
            body = record.content
            if body["record"] == "receipt" and not body["code"]:
                memory.check_paid(body)
            memory.take(record, body)
        except ValueError as error:
            return Broken(record.number, f"{error}.")
    return broken


def _missing(seen: frozenset[str], records: list[Record]) -> Broken | None:
    """Records that were written in this place and are gone from the end of the file. seen: names of its files."""
    number, known = len(records), max(map(number_of, seen), default=0)
    last = records[-1].place.decode(errors="replace").partition(" ")[0] if records else ""
    if known <= max(number, 1) or last in seen:
        return None
    return Broken(number + 1, f"is missing, and so are all up to record {known}, which was written here.")


def _notes(place: Place, seen: frozenset[str], records: list[Record]) -> tuple[str, ...]:
    mark = records[-1].place.decode() if records else ""
    if mark and not place.holds(mark) and place.names() == seen:  # else a client has written meanwhile
        return ("This file is not in the place where it was last written; a copy cannot tell what was written since.",)
    return ()
