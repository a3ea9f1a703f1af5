"""What the records of a site's ledger say: an entry before a release is made, a receipt before it leaves."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from common.privacy.events import Spent, event_from_json, event_to_json

ENTRY, RECEIPT = "entry", "receipt"
Details = dict[str, float | str]


@dataclass(frozen=True)
class Step:
    """A place in a run: message kind, round (0 outside training) and stage."""

    plan_hash: str
    kind: str
    round: int
    stage: int


@dataclass(frozen=True)
class Entry:
    """What will be released, and what it costs whom.

    unit: whom noise hides ("patient", "hospital", "none"). dataset: fingerprint of the site's tables.
    policy: digest of the policy under which it was allowed. request: digest of what was asked, hexadecimal.
    """

    study: str
    step: Step
    spent: Spent
    unit: str
    dataset: str
    policy: str
    details: Details = field(default_factory=dict)
    request: str = ""


@dataclass(frozen=True)
class Receipt:
    """What left, or, with a `code`, that a request was refused and nothing left.

    recipient: the coordinator or federation. request, sha256: hexadecimal digests of what was asked and of the bytes
    that left. release: the kind of release. noise: in words, or as a number. entry: number of the ledger's entry that
    pays for the release; None for one that needs none.
    """

    recipient: str
    step: Step
    request: str
    release: str = ""
    bytes: int = 0
    sha256: str = ""
    norm_before_clip: float | None = None
    norm_after_clip: float | None = None
    noise: str | float = "none"
    secure: bool = False
    entry: int | None = None
    details: Details = field(default_factory=dict)
    code: str = ""


def entry_to_json(entry: Entry, again: bytes = b"") -> dict[str, Any]:
    """The body of an entry's record. again: what names the stored bytes that this entry pays for; may be empty."""
    spent = {"event": event_to_json(entry.spent.event), "split": entry.spent.split, "rows": entry.spent.rows}
    own = {"record": ENTRY, "step": vars(entry.step), "spent": spent, "again": again.hex()}
    return vars(entry) | own


def receipt_to_json(receipt: Receipt) -> dict[str, Any]:
    """The body of a receipt's record."""
    return vars(receipt) | {"record": RECEIPT, "step": vars(receipt.step)}


def refused(bodies: Iterable[dict[str, Any]]) -> str:
    """How many requests the receipts with these bodies refuse, as text: with those that were only counted, if known."""
    details = [body["details"] for body in bodies if body["code"]]
    count = len(details) + sum(int(of.get("not_written_before", 0)) for of in details)
    return f"{count} or more" if any("further_today" in of for of in details) else f"{count}"


def refusal_note(body: dict[str, Any]) -> str:
    """What the receipt of a refusal says of others that were only counted; empty for most."""
    before, further = (body["details"].get(key) for key in ("not_written_before", "further_today"))
    told = f"; {before} before it were only counted" if before else ""
    return f"{told}{'; further ones of this day are only counted' if further else ''}"


def spent_of(body: dict[str, Any]) -> Spent:
    """What the entry with this body costs. Raises ValueError for an event that this version does not know."""
    told = body["spent"]
    return Spent(event_from_json(told["event"]), told["split"], told["rows"])


def step_of(body: dict[str, Any]) -> Step:
    return Step(**body["step"])
