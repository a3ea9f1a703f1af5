"""What the coordinator keeps of secure aggregation beside the run's checkpoint, so that a crash asks nothing twice.

It holds no secret: session cards, the header in progress, its survivors, and sums of statistics that were opened.
"""

from dataclasses import dataclass, replace

import numpy as np

from common.errors import Refusal, RunError
from common.files import read_bytes, write_atomic
from common.secagg.encoding import decode, encode
from common.secagg.messages import Roster, SessionCards, SignedHeader
from common.secagg.primitives import SigningKey
from server.journal import Journal
from server.sums import Sum

STATE = "secure.bin"
_KEPT = 4  # opened sums of statistics: more than one phase asks for


@dataclass(frozen=True)
class CoordinatorKeys:
    """The coordinator's signing key and the roster that names it."""

    key: SigningKey
    roster: Roster


@dataclass(frozen=True)
class Opened:
    """A sum of statistics. question: its name. total: float64, little-endian. sites, failed, codes: as in `Sum`."""

    question: bytes
    total: bytes
    sites: tuple[str, ...]
    failed: tuple[str, ...]
    codes: tuple[str, ...]
    bytes_up: int


@dataclass(frozen=True)
class Kept:
    """header: encoded SignedHeader of the sum in progress for `question`, empty between sums.

    opening: 1 from the moment on when members were asked for their shares of it.
    """

    session: bytes
    cards: SessionCards
    last_round: int = 0
    question: bytes = b""
    header: bytes = b""
    survivors: tuple[str, ...] = ()
    opening: int = 0
    opened: tuple[Opened, ...] = ()


@dataclass
class SecureState:
    """An open session with the sites, and the sum in progress."""

    keys: CoordinatorKeys
    kept: Kept

    @property
    def session(self) -> bytes:
        return self.kept.session

    @property
    def cards(self) -> SessionCards:
        return self.kept.cards

    @property
    def last_round(self) -> int:
        return self.kept.last_round

    @property
    def survivors(self) -> tuple[str, ...]:
        return self.kept.survivors

    @property
    def opening(self) -> bool:
        """Whether somebody may have opened the sum in progress."""
        return self.kept.opening == 1

    def pending(self, question: bytes) -> SignedHeader | None:
        """The header that was sent for this question and not finished."""
        if self.kept.header and self.kept.question == question:
            return decode(SignedHeader, self.kept.header)
        return None

    def begin(self, journal: Journal, question: bytes, signed: SignedHeader) -> None:
        """Before a header is sent: its number is never used again."""
        number = signed.header.round
        self._keep(
            journal,
            replace(self.kept, last_round=number, question=question, header=encode(signed), survivors=(), opening=0),
        )

    def survive(self, journal: Journal, sites: tuple[str, ...]) -> None:
        """Before the survivors are shown to a committee member."""
        if sites != self.kept.survivors:
            self._keep(journal, replace(self.kept, survivors=sites))

    def open(self, journal: Journal) -> None:
        """Before the first member is asked for its shares."""
        if not self.opening:
            self._keep(journal, replace(self.kept, opening=1))

    def finish(self, journal: Journal, question: bytes = b"", total: Sum | None = None) -> None:
        """After a sum was opened or given up. total: kept, if it is one of statistics."""
        opened = self.kept.opened
        if total is not None:
            entry = Opened(
                question,
                total.total.astype("<f8").tobytes(),
                total.sites,
                tuple(total.failed),
                tuple(total.failed.values()),
                total.bytes_up,
            )
            opened = (*opened, entry)[-_KEPT:]
        # An opened round of training stays until the next begins: its step may not have reached the checkpoint yet.
        if total is not None or not question:
            self._keep(journal, replace(self.kept, question=b"", header=b"", survivors=(), opening=0, opened=opened))

    def result(self, question: bytes) -> Sum | None:
        """The sum that was opened for this question before."""
        for entry in self.kept.opened:
            if entry.question == question:
                total = np.frombuffer(entry.total, dtype="<f8").copy()
                return Sum(total, entry.sites, dict(zip(entry.failed, entry.codes, strict=True)), {}, entry.bytes_up)
        return None

    def _keep(self, journal: Journal, kept: Kept) -> None:
        write_atomic(journal.folder / STATE, encode(kept))
        self.kept = kept


def load_kept(journal: Journal) -> Kept | None:
    """What an earlier process of this run kept. Raises RunError if it is damaged."""
    path = journal.folder / STATE
    if not path.exists():
        return None
    try:
        return decode(Kept, read_bytes(path))
    except Refusal:
        raise RunError(f"{path}: damaged; start again in an empty folder.") from None
