"""The site's privacy ledger: what each release costs, written before it is made, and a receipt before it leaves.

One file, one signed chain of records (chain.py). A crash between an entry and its release costs budget, never
the reverse. Epsilon is not in it: the accountant makes it of the events when somebody asks.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from client.ledger.budget import Budget, Limit, check_limit, check_rounds
from client.ledger.chain import KEY, Record, check_chain, check_hashes, follow
from client.ledger.file import LEDGER, LedgerFile
from client.ledger.memory import DIFFERENT_QUESTIONS, Memory
from client.ledger.opening import check_clock, check_own, check_place
from client.ledger.place import Place
from client.ledger.receipts import Entry, Receipt, Step, entry_to_json, receipt_to_json
from common.errors import Refusal
from common.files import exists, write_atomic
from common.privacy.events import Spent
from common.secagg.primitives import SigningKey, verify

__all__ = ["DIFFERENT_QUESTIONS", "LEDGER", "Budget", "Entry", "Ledger", "Receipt", "Step", "accept_restored"]
RESTORED = "restored"
Clock = Callable[[], float]


class Ledger:
    """The ledger of one site, open for its client.

    alone: another client on it is refused; False lets processes of one simulation take turns. durable: False for
    virtual sites, whose ledger need not outlast a power cut and may be copied. now: the clock, seconds since 1970.
    begun: a file, kept apart from the ledger, that says that there is one. accept: take the file as it is here,
    although it was put back, the key or the clock has changed, and write that down.
    Raises Refusal `ledger_locked`, `ledger_replaced`, `ledger_damaged` or `cannot_record`.
    """

    def __init__(
        self,
        path: Path,
        key: SigningKey,
        *,
        durable: bool = True,
        alone: bool = True,
        now: Clock = time.time,
        accept: bool = False,
        begun: Path | None = None,
    ) -> None:
        self._path, self._key, self._now, self._thread = path, key, now, threading.RLock()
        self._place, self._begun = Place(path) if durable else None, begun
        self._memory = Memory()
        self._file = LedgerFile(path, durable=durable, alone=alone)
        try:
            self._open(accept)
        except BaseException:
            self._file.close()
            raise

    def spend(self, entry: Entry, *, again: bytes = b"", within: Budget | None = None) -> int:
        """Write what will be released; returns the entry's number. Only then may the release be made.

        again: names bytes that are stored and sent again as they are: the same entry with the same `again` is not
        charged twice. within: the entry has to fit, after all that other processes have written until now, or nothing
        is written. Raises Refusal as `project` does, and `clock_set_back`.
        """
        with self._writing() as write:
            paid = self._memory.paid(again.hex(), entry.study, entry.step, entry.spent) if again else None
            if paid is not None:
                return paid
            if within is not None:
                self.project(entry, within=within)
            return write(entry_to_json(entry, again))

    def write_receipt(self, receipt: Receipt) -> int:
        """Write what is about to leave; returns the record's number. Only then may it leave.

        Raises Refusal, also `entry_used` where the entry is not one of this step, or pays for other bytes already.
        """
        with self._writing() as write:
            self._memory.check_receipt(receipt)
            return write(receipt_to_json(receipt))

    def write_refusal(self, receipt: Receipt) -> None:
        """Write that nothing left, or only count it where a code has had its records for today.

        What was refused is refused also where this cannot be written.
        """
        with suppress(Refusal), self._writing() as write:
            note = self._memory.note_refusal(receipt, day=self._time(False)[:10])
            if note is not None:
                write(receipt_to_json(replace(receipt, details=receipt.details | note)))

    def check_repeats(self, step: Step, digest: str) -> None:
        """Raises Refusal `asked_too_often` for a question answered 10,000 times: each answer is a record."""
        with self._reading():
            self._memory.check_repeats(step, digest)

    def check_question(self, step: Step, digest: str) -> None:
        """Raises Refusal `asked_too_often` for one more different question about a step.

        A run that was cut off asks its last steps again, word for word. A *different* question for a step that was
        answered is how a coordinator would take differences, so a site answers only a few of those.
        """
        with self._reading():
            self._memory.check_question(step, digest)

    def spent(self, study: str | None = None, year: int | None = None) -> list[Spent]:
        """What was released, as `merged` puts it together: of one study, of one calendar year (UTC), or all."""
        with self._reading():
            return self._memory.spent(study, year)

    def rounds(self, study: str, *, also: Entry | None = None) -> int:
        """How many different questions about rounds of training of one study were entered, over all of its plans.

        also: counted with them. A round that is asked again word for word, after a run was cut off, counts once.
        """
        with self._reading():
            return self._memory.rounds(study, also)

    def project(self, more: Entry, *, within: Budget, times: int = 1) -> None:
        """Raises Refusal `budget_exceeded` or `too_many_rounds` unless `times` releases like `more` fit.

        And `rows_changed` where the same was answered without noise from other rows.
        """
        with self._reading():
            self._memory.check_rows(more)
            if more.step.kind == "train":
                check_rounds(self._memory.rounds(more.study, more), most=within.rounds_per_study)
            year = datetime.fromtimestamp(max(self._now(), self._memory.last_time), UTC).year
            for name, epsilon, spent in (
                (f"study {more.study!r}", within.epsilon_per_study, self._memory.spent(more.study, None)),
                (f"the year {year}", within.epsilon_per_year, self._memory.spent(None, year)),
            ):
                if epsilon is not None:
                    check_limit(Limit(name, epsilon, tuple(spent)), more.spent, delta=within.delta, times=times)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, accept: bool) -> None:
        with self._file.writing():
            self._catch_up()
            self._check_last()
            if self._place is not None and not accept:
                check_place(self._path, self._memory, self._place)
                check_own(self._path, self._memory, verify_key=self._key.verify_key, begun=self._begun)
        found, known = self._memory.number, self._place.last_number if self._place else None
        if self._memory.last_key != self._key.verify_key:
            with self._writing(any_clock=accept) as write:
                write({"record": KEY, "key": self._key.verify_key.hex()})
        if accept:
            with self._writing(any_clock=True) as write:
                write({"record": RESTORED, "found": found, "known": known})
        if self._begun is not None and self._place is not None and not exists(self._begun):
            write_atomic(
                self._begun, b"This site has a ledger; without it nothing leaves (docs/ledger.md).\n", private=True
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._thread:
            self._catch_up()
            yield

    @contextmanager
    def _writing(self, *, any_clock: bool = False) -> Iterator[Callable[[dict[str, Any]], int]]:
        """Hands out a function that adds one record; it is on the disk when the block ends."""
        added: list[tuple[Record, dict[str, Any]]] = []

        def write(body: dict[str, Any]) -> int:
            stamped = body | {"time": self._time(any_clock)}
            mark = self._place.next(self._memory.number + 1) if self._place else ""
            record = follow(self._memory.last, stamped, mark.encode(), self._key)
            self._file.add(record)
            added.append((record, stamped))
            return record.number

        with self._thread:
            with self._file.writing():
                self._catch_up()
                yield write
            for record, body in added:
                self._memory.take(record, body)
                if self._place is not None:
                    with suppress(OSError):  # the record is written; what is left over here goes the next time
                        self._place.leave_only(record.place.decode())

    def _time(self, any_clock: bool) -> str:
        time_s, last_s = self._now(), self._memory.last_time
        if not any_clock:
            check_clock(self._path, time_s=time_s, last_s=last_s)
            time_s = max(time_s, last_s)
        return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")

    def _catch_up(self) -> None:
        """Take in what is in the file and not yet in memory: at first everything, then what other processes wrote."""
        records = self._file.read(self._memory.number)
        broken = check_hashes(records, self._memory.last)
        if broken is not None:
            raise self._damaged(str(check_chain(self._file.read(), None) or broken))
        for record in records:
            try:
                self._memory.take(record)
            except ValueError as error:
                raise self._damaged(f"record {record.number}: cannot be read by this version: {error}.") from None

    def _check_last(self) -> None:
        """The hashes cover every record but the last one; its signature covers it."""
        last = self._memory.last
        if last is not None and not verify(self._memory.last_key, "receipt", last.signed, last.signature):
            raise self._damaged(str(check_chain(self._file.read(), None)))

    def _damaged(self, text: str) -> Refusal:
        return Refusal("ledger_damaged", f"{self._path}: {text} Nothing leaves this site; see docs/ledger.md.")


def accept_restored(path: Path, key: SigningKey, *, now: Clock = time.time) -> None:
    """Go on with a ledger that was put back from a copy, or after the clock was set back, and write that down.

    What was released after the copy was made is not in it; the record says how many records are missing, where the
    place still tells. Raises Refusal as `Ledger` does.
    """
    Ledger(path, key, now=now, accept=True).close()
