"""A site on the stage: what it has stored, as the bytes of its store, and a process that may end at any moment.

Whatever is asked of it is computed from those bytes. It keeps to the order of client/secure/answers.py: check, store,
answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from random import Random

import numpy as np

from common.secagg import checks, committee, header, report, session
from common.secagg.encoding import decode, encode
from common.secagg.header import Question, RoundState
from common.secagg.messages import (
    CrossCheck,
    Header,
    OpenSession,
    Roster,
    SessionCards,
    SignedHeader,
    Survivors,
    Unmask,
)
from common.secagg.primitives import SigningKey
from common.secagg.session import Party, SessionState

PLAN = sha256(b"plan").digest()


@dataclass
class Disk:
    """What a site's store holds, and nothing else survives a restart.

    opened: (question, subject, session, round, hash of the survivors) of answered Unmask.
    """

    session: bytes = b""
    round: bytes = b""
    report: bytes = b""
    opened: set[tuple[bytes, bytes, bytes, int, bytes]] = field(default_factory=set)


@dataclass
class Site:
    """One site. `said` is the witness of the stage, not of the site: everything that it ever let out of a round."""

    name: str
    key: SigningKey
    roster: bytes
    question: Question
    random: Random
    disk: Disk = field(default_factory=Disk)
    party: Party = field(init=False)
    training: RoundState | None = field(default=None, init=False)
    said: dict[tuple[str, bytes, int], set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The process ends and begins again: warm keys and a training that was under way are gone."""
        key = SigningKey.from_bytes(self.key.private_bytes)
        self.party, self.training = Party(self.name, key, decode(Roster, self.roster)), None

    @property
    def _session(self) -> SessionState:
        return decode(SessionState, self.disk.session)

    @property
    def _round(self) -> RoundState:
        return decode(RoundState, self.disk.round)

    def open(self, request: OpenSession, levels: Sequence[int]) -> bytes:
        state = session.open_session(self.party, request, plan=PLAN, levels=levels, random=self.random.randbytes)
        self.disk = Disk(encode(state), encode(RoundState()), opened=self.disk.opened)
        return encode(state.card)

    def take_cards(self, data: bytes) -> None:
        self.disk.session = encode(session.accept_cards(self.party, self._session, decode(SessionCards, data)))

    def begin(self, data: bytes, model: bytes) -> bytes | None:
        """A question arrives: the stored report where there is one, else None, and the site trains."""
        signed, before = decode(SignedHeader, data), self._round
        asked = self._asked(signed.header, model)
        after = header.begin(self.party, self._session, before, signed, asked, self._opened(signed.header))
        if after != before:
            self.disk.round, self.disk.report = encode(after), b""
        if after.report:
            return self._says("report", after, self.disk.report)
        self.training = after
        return None

    def finish(
        self, narrow: np.ndarray, wide: np.ndarray, *, stored: bool = True, noise: np.ndarray | None = None
    ) -> bytes | None:
        """The training ends: the report that leaves. stored=False: the process ends before its transaction does."""
        state, self.training = self.training, None
        checks.require(state == self._round, "round_overtaken", "another round began meanwhile.")
        contribution = report.Contribution(narrow, wide, coins_of(self.name, state.number), noise)
        after, data = report.make_report(self.party, self._session, state, contribution, random=self.random.randbytes)
        if not stored:
            self.restart()
            return None
        self.disk.round, self.disk.report = encode(after), bytes(data)
        return self._says("report", after, self.disk.report)

    def cross_check(self, data: bytes) -> bytes:
        message, before = decode(CrossCheck, data), self._round
        asked, opened = self._asked(message.header, b""), self._opened(message.header)
        after, signature = committee.cross_check(self.party, self._session, before, message, asked, opened)
        if after != before:
            self.disk.round = encode(after)
            if not after.report:
                self.disk.report = b""
        return self._says("survivors signed", after, signature)  # equal for equal survivors only

    def unmask(self, data: bytes) -> bytes:
        before = self._round
        opened = self._opened(header.header_of(before)) if before.header else header.Opened()
        after = committee.unmask(self.party, before, decode(Unmask, data), opened)
        self.disk.round = encode(after)
        asked = header.header_of(after)
        keys = header.question_key(asked), header.subject_key(asked)
        self.disk.opened.add((*keys, asked.session, after.number, after.survivors_hash))
        return self._says("shares", after, after.answer)

    @property
    def signed(self) -> tuple[int, tuple[str, ...]] | None:
        """Round and survivors that this site signed last."""
        state = self._round
        return (state.number, decode(Survivors, state.survivors).sites) if state.survivors else None

    @property
    def began(self) -> int:
        """The last round that it has stored."""
        return self._round.number

    @property
    def trains_for_its_last_round(self) -> bool:
        return self.training == self._round

    def opened(self, key: bytes) -> int:
        return sum(question == key for question, *_ in self.disk.opened)

    def has_opened_over_others(self, asked: Header, survivors: tuple[str, ...]) -> bool:
        """Whether it has answered Unmask for the same question over other sites, in whichever round."""
        return self._opened(asked).with_others(survivors) > 0

    def _opened(self, asked: Header) -> header.Opened:
        rows, subject = self.disk.opened, header.subject_key(asked)
        return header.Opened(
            self.opened(header.question_key(asked)),
            tuple(survivors for _, about, *_, survivors in rows if about == subject),
        )

    def _asked(self, asked: Header, model: bytes) -> Question:
        return replace(self.question, training_round=asked.training_round, model=model)

    def _says(self, kind: str, state: RoundState, data: bytes) -> bytes:
        """`data`, noted under its kind, session and round."""
        self.said.setdefault((kind, self._session.request.session, state.number), set()).add(data)
        return data


def coins_of(name: str, number: int) -> bytes:
    """Key of the rounding keystream of a site's report."""
    return sha256(f"{name} {number}".encode()).digest()
