"""Is the ledger that is opened here the one that was last written here? Nothing leaves until it is."""

from pathlib import Path

from client.ledger.memory import Memory
from client.ledger.place import Place
from client.ledger.verify import verify_ledger
from common.errors import Refusal
from common.files import exists

BEGUN = "ledger.begun"
"""In the folder of keys, once there is a ledger."""
CLOCK_S = 5.0
_READINGS = 5


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


def check_clock(path: Path, *, time_s: float, last_s: float) -> None:
    """Raises Refusal `clock_set_back` where the time is more than 5 s before that of the last record."""
    if time_s < last_s - CLOCK_S:
        raise Refusal(
            "clock_set_back",
            f"{path}: this machine's clock is {last_s - time_s:.0f} s behind the ledger's last record. Set it right; "
            "if it is right now, and was ahead before: `consilium site ledger SITE --accept-restored`. "
            "Nothing leaves until then.",
        )


def check_begun(path: Path, begun: Path) -> None:
    """Raises Refusal `ledger_replaced` where there was a ledger and none is, or an empty one."""
    check_own(path, Memory(), verify_key=b"", begun=begun)


def look(path: Path, *, verify_key: bytes, begun: Path, time_s: float) -> int:
    """The number of records, where a client that started now would go on with them; nothing is written.

    Every record is verified, of which a start looks at the last alone. Also beside a client that is running.
    Raises Refusal and ConsiliumError.
    """
    for reading in range(_READINGS):
        place, memory = Place(path), Memory()
        seen = place.names()
        try:
            _take_all(path, memory)
            check_place(path, memory, place)
            check_own(path, memory, verify_key=verify_key, begun=begun)
        except Refusal:
            if place.names() != seen and reading + 1 < _READINGS:  # a client has written meanwhile
                continue
            raise
        break
    check_clock(path, time_s=time_s, last_s=memory.last_time)
    return memory.number


def _take_all(path: Path, memory: Memory) -> None:
    if not exists(path) or not path.stat().st_size:
        return
    report = verify_ledger(path, None)
    if report.broken is not None:
        raise Refusal("ledger_damaged", f"{path}: {str(report.broken).rstrip('.')}; docs/ledger.md says what to do.")
    for record in report.records:
        try:
            memory.take(record)
        except ValueError as error:
            raise Refusal("ledger_damaged", f"{path}: record {record.number}: {error}; docs/ledger.md.") from None


def _replaced(path: Path, number: int, known: int) -> str:
    missing = f": record {known} was written here, but it ends with record {number}" if known > number else ""
    return (
        f"{path}: is not the ledger that was last written in this place{missing}. Nothing leaves this site until "
        "`consilium site ledger SITE --accept-restored` (docs/ledger.md)."
    )
