"""Is the ledger that is opened here the one that was last written here? Nothing leaves until it is."""

from pathlib import Path

from client.ledger.memory import Memory
from client.ledger.place import Place
from common.errors import Refusal
from common.files import exists


def check_place(path: Path, memory: Memory, place: Place) -> None:
    """Raises Refusal `ledger_replaced` unless the file is where it was when its last record was written."""
    last, known = memory.last, place.last_number
    cut_off = last is None and known <= 1  # the very first write
    if not cut_off and (last is None or not place.holds(last.place.decode(errors="replace"))):
        raise Refusal("ledger_replaced", _replaced(path, memory.number, known))


def check_own(path: Path, memory: Memory, *, verify_key: bytes, begun: Path | None) -> None:
    """Raises Refusal `ledger_replaced` for another key's ledger, and for none where there was one.

    Whoever can write here could begin a ledger under a key of their own, or remove it with all that lies beside it.
    """
    if memory.last is None:
        if begun is not None and exists(begun):
            raise Refusal("ledger_replaced", _replaced(path, 0, 0))
    elif memory.last_key != verify_key:
        raise Refusal(
            "ledger_replaced",
            f"{path}: its last record is signed with another key than this site's. Where the key was renewed "
            "that is right: `consilium site ledger SITE --accept-restored` (docs/ledger.md).",
        )


def _replaced(path: Path, number: int, known: int) -> str:
    missing = f": record {known} was written here, but it ends with record {number}" if known > number else ""
    return (
        f"{path}: is not the ledger that was last written in this place{missing}. Nothing leaves this site until "
        "`consilium site ledger SITE --accept-restored` (docs/ledger.md)."
    )
