"""What a ledger's records say, kept in memory while it is open: nobody reads a long ledger again for each round."""

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

from client.ledger.budget import merged
from client.ledger.chain import Record
from client.ledger.daily import MOST_A_DAY, Daily
from client.ledger.receipts import Details, Entry, Receipt, Step, receipt_to_json, spent_of, step_of
from common.errors import Refusal
from common.privacy.events import Spent, Unnoised

DIFFERENT_QUESTIONS, MOST_REPEATS = 3, 10_000
_TELLING = ("update_not_finite", "site_error")  # refusals that may depend on rows count as answers


class Memory:
    """last: the last record. last_key: with which it is signed. last_time: when it was written, seconds since 1970."""

    def __init__(self) -> None:
        self.last: Record | None = None
        self.last_key, self.last_time = b"", 0.0
        self._asked: dict[Step, Counter[str]] = defaultdict(Counter)
        self._spent: dict[tuple[str, int], list[Spent]] = defaultdict(list)
        self._paid: dict[tuple[str, str, Step, Spent], int] = {}
        self._entries: dict[int, tuple[Step, str]] = {}
        self._rows: dict[str, set[str]] = defaultdict(set)  # plan -> fingerprints of rows that answered without noise
        self._rounds: dict[str, set[tuple[Step, str]]] = defaultdict(set)
        self._refusals, self._not_written = Daily(), Counter[str]()

    @property
    def number(self) -> int:
        """Of the last record; 0 before the first."""
        return self.last.number if self.last else 0

    def take(self, record: Record, body: dict[str, Any] | None = None) -> None:
        """The next record; its body, where it was just made.

        Raises ValueError for one that this version cannot read.
        """
        try:
            body = body or record.content
            time_s, key = datetime.fromisoformat(body["time"]).timestamp(), self.last_key
            match body["record"]:
                case "entry":
                    year, study = int(body["time"][:4]), body["study"]
                    step, spent = step_of(body), spent_of(body)
                    self._spent[study, year] = merged([*self._spent[study, year], spent])
                    self._entries[record.number] = (step, "")
                    if tells_exactly(step, spent):
                        self._rows[step.plan_hash].add(body["dataset"])
                    if step.kind == "train":
                        self._rounds[study].add((step, body.get("request", "")))
                    if body["again"]:
                        self._paid[body["again"], study, step, spent] = record.number
                case "receipt":
                    step, code = step_of(body), body["code"]
                    if not code or code in _TELLING:
                        self._asked[step][body["request"]] += 1
                    if code:
                        self._refusals.add(code, body["time"][:10])
                        self._not_written.pop(code, None)
                    elif body["entry"] is not None:
                        self._entries[body["entry"]] = (step, body["sha256"])
                case "key":
                    key = bytes.fromhex(body["key"])
                case "restored":
                    pass
                case unknown:
                    raise ValueError(f"a record of the kind {unknown!r}")
        except (KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__} {error}") from None
        self.last, self.last_key, self.last_time = record, key, time_s

    def paid(self, again: str, study: str, step: Step, spent: Spent) -> int | None:
        """Number of the entry for these stored bytes, where there is one."""
        return self._paid.get((again, study, step, spent))

    def spent(self, study: str | None, year: int | None) -> list[Spent]:
        return merged(
            one
            for (of_study, in_year), some in self._spent.items()
            if study in (None, of_study) and year in (None, in_year)
            for one in some
        )

    def check_rows(self, entry: Entry) -> None:
        """Raises Refusal `rows_changed` where this plan was answered, without noise, from other rows than the entry's.

        The difference of two answers would be the patients who came or went: exactly, where a coordinator asks the same
        again, in the same step or, as it may send the same model twice, in a later one.
        """
        if tells_exactly(entry.step, entry.spent) and self._rows.get(entry.step.plan_hash, set()) - {entry.dataset}:
            raise Refusal("rows_changed", "this plan was answered, without noise, from other rows than are here now.")

    def check_repeats(self, step: Step, digest: str) -> None:
        times = self._asked.get(step, Counter[str]())[digest]
        if times >= MOST_REPEATS:
            raise Refusal("asked_too_often", f"the same question for {step} was answered {times} times.")

    def check_question(self, step: Step, digest: str) -> None:
        asked = self._asked.get(step, ())
        if digest not in asked and len(asked) >= DIFFERENT_QUESTIONS:
            raise Refusal("asked_too_often", f"{len(asked)} different questions for {step} were answered already.")

    def note_refusal(self, receipt: Receipt, *, day: str) -> Details | None:
        """What the record of a refusal says beside its code; None where it is only counted. day: UTC, ISO 8601.

        A refusal that counts as an answer is always written: it is what `check_question` goes by.
        """
        code = receipt.code
        answer = code in _TELLING and receipt.request not in self._asked.get(receipt.step, ())
        written = self._refusals.count(code, day)
        if written >= MOST_A_DAY and not answer:
            self._not_written[code] += 1
            return None
        note: Details = {"not_written_before": self._not_written[code]} if self._not_written[code] else {}
        return note | ({"further_today": "only counted"} if written + 1 == MOST_A_DAY else {})

    def check_receipt(self, receipt: Receipt) -> None:
        """Raises Refusal `entry_used` unless the entry is one for this step, and pays for no other bytes yet."""
        try:
            self.check_paid(receipt_to_json(receipt))
        except ValueError as error:
            raise Refusal("entry_used", f"a receipt {error}.") from None

    def check_paid(self, body: dict[str, Any]) -> None:
        """The same for the body of a receipt; raises ValueError."""
        number = body["entry"]
        if number is None:
            return
        step, left = self._entries.get(number, (None, ""))
        if step is None or step != step_of(body):
            raise ValueError(f"names entry {number}, which is no entry for the same step")
        if left not in ("", body["sha256"]):
            raise ValueError(f"names entry {number}, which pays for other bytes that left before")

    def rounds(self, study: str, also: Entry | None) -> int:
        asked = {(also.step, also.request)} if also else set()
        return len(self._rounds.get(study, set()) | asked)


def tells_exactly(step: Step, spent: Spent) -> bool:
    """Declared levels are not exact: they are rounded to five steps. Every session needs them."""
    return isinstance(spent.event, Unnoised) and step.kind != "query.declare"
