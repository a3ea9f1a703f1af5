"""Reading a ledger's records beside the client that writes it, unverified."""

from pathlib import Path
from typing import Any

from client.ledger.file import reading, records_of


def read_bodies(path: Path) -> list[dict[str, Any]]:
    """The bodies of all records, in order. Raises sqlite3.Error where the file cannot be read."""
    with reading(path) as database:
        return [record.content for record in records_of(database)]


def read_receipts(path: Path) -> list[dict[str, Any]]:
    """The bodies of all receipts of releases, in order; refusals are left out."""
    return [body for body in read_bodies(path) if body.get("record") == "receipt" and not body["code"]]
