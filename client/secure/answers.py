"""This site's part in secure aggregation: reads and writes the store around the pure protocol in common/secagg.

Order in every function: check, store, answer. What is answered twice is the stored answer.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from client.secure.store import Store, Vault
from common.contribution import Contribution, Contributions
from common.errors import Refusal
from common.plan import Plan
from common.privacy.noise import discrete_gaussian
from common.privacy.shares import fixed_point, noise_steps
from common.secagg import checks, committee, header, report, session
from common.secagg.encoding import decode, encode
from common.secagg.messages import CloseSession, CrossCheck, Header, OpenSession, SessionCards, SignedHeader, Unmask
from common.secagg.primitives import Random
from common.secagg.session import Party

EIGHTHS = 8
_BLOCK = 1 << 18  # entries of which the noise is drawn at a time: its working arrays stay small
MOST_SESSIONS = 1000


@dataclass(frozen=True)
class Round:
    """A round that has begun here. stored: the report that was sent before, empty before training.

    declared: levels of this site's card in this session, in eighths. rows: fingerprint of those of the stored report.
    """

    signed: SignedHeader
    state: header.RoundState
    stored: bytes
    declared: tuple[int, ...] = ()
    rows: str = ""

    def check_declared(self, levels: Sequence[float]) -> None:
        """Raises Refusal unless `levels`, of the data as they are now, are those that the other sites count on."""
        same = self.declared == _eighths(levels)
        checks.require(same, "data_changed", "the data have changed since this site declared what it holds.")

    def check_rows(self, rows: str) -> None:
        """Raises Refusal unless the stored report is of the rows as they are now: somebody may have objected since.

        The code is that of a report which a crash took, so that the coordinator asks for another one by itself.
        """
        if self.rows != rows:
            raise Refusal("report_lost", "the data have changed since the stored report was made; it does not leave.")


@dataclass(frozen=True)
class SecureSite:
    """One site under one plan. random: the operating system's source; only a simulation hands over another."""

    plan: Plan
    party: Party
    vault: Vault
    random: Random = os.urandom

    @cached_property
    def contributions(self) -> Contributions:
        return Contributions(self.plan)

    def open(self, data: bytes, levels: Sequence[float]) -> bytes:
        """OpenSession -> this site's SignedCard. levels: declared weight of each block."""
        request = decode(OpenSession, data)
        with self.vault.open() as store:
            if store.has(request.session):
                return encode(self._stored(store, request.session)[0].card)
            few = store.open_sessions < MOST_SESSIONS
            checks.require(few, "too_many_sessions", f"{MOST_SESSIONS} sessions are open; old ones end after 30 days.")
            plan = bytes.fromhex(self.plan.hash)
            state = session.open_session(self.party, request, plan=plan, levels=_eighths(levels), random=self.random)
            store.keep_session(state)
            return encode(state.card)

    def take_cards(self, data: bytes) -> None:
        """SessionCards: checked and kept."""
        cards = decode(SessionCards, data)
        with self.vault.open() as store:
            name = cards.cards[0].session if cards.cards else b""
            store.keep_session(session.accept_cards(self.party, self._stored(store, name)[0], cards))

    def begin(
        self, data: bytes, contribution: Contribution, *, training_round: int, model: bytes, subject: bytes = b""
    ) -> Round:
        """SignedHeader: checked and kept, before training. model, subject: hashes of the vector that came with it."""
        signed = decode(SignedHeader, data)
        name = signed.header.session
        with self.vault.open() as store:
            state, before = self._stored(store, name)
            question = replace(self.question(contribution, training_round, model), subject=subject)
            opened = store.opened(header.question_key(signed.header), header.subject_key(signed.header))
            after = header.begin(self.party, state, before, signed, question, opened)
            if after != before:
                store.keep_round(name, after)
            stored, rows = store.report(name) if after.report else (b"", "")
            return Round(signed, after, stored, state.card.card.levels, rows)

    def report(self, begun: Round, contribution: report.Contribution, *, rows: str = "") -> bytes:
        """The complete bytes of this site's report, kept before they are returned. rows: their fingerprint."""
        name = begun.signed.header.session
        with self.vault.open() as store:
            state, before = self._stored(store, name)
            untouched = before == begun.state
            checks.require(untouched, "round_overtaken", "another message of this session was answered meanwhile.")
            after, data = report.make_report(self.party, state, before, contribution, random=self.random)
            store.keep_round(name, after, data, rows=rows)
            return bytes(data)

    def cross_check(self, data: bytes) -> bytes:
        """CrossCheck -> this member's signature of the survivors, kept with its shares before it is returned."""
        message = decode(CrossCheck, data)
        asked, name = message.header, message.header.session
        with self.vault.open() as store:
            state, before = self._stored(store, name)
            question = self.question(self._asked(asked), asked.training_round, b"")
            opened = store.opened(header.question_key(asked), header.subject_key(asked))
            after, signature = committee.cross_check(self.party, state, before, message, question, opened)
            if after != before:
                store.keep_round(name, after)
            return signature

    def unmask(self, data: bytes) -> bytes:
        """Unmask -> this member's shares; that the sum is opened is kept before they are returned."""
        message = decode(Unmask, data)
        with self.vault.open() as store:
            _, before = self._stored(store, message.session)
            asked = header.header_of(before) if before.header else None
            keys = (header.question_key(asked), header.subject_key(asked)) if asked else (b"", b"")
            after = committee.unmask(self.party, before, message, store.opened(*keys))
            store.keep_opened(message.session, after, *keys)
            return after.answer

    def close(self, data: bytes) -> None:
        """CloseSession: erase what belongs to it. A site erases it by itself after 30 days."""
        name = decode(CloseSession, data).session
        with self.vault.open() as store:
            self._stored(store, name)
            self.party.forget()
            store.erase(name)

    def _stored(self, store: Store, name: bytes) -> tuple[session.SessionState, header.RoundState]:
        """The session, or a Refusal; then nothing of a session that has ended stays in memory either."""
        try:
            return store.session(name)
        except Refusal:
            self.party.forget()
            raise

    def question(self, contribution: Contribution, training_round: int, model: bytes) -> header.Question:
        """What the approved plan says about a question; the fixed point follows from the roster's size.

        Raises PlanError where the plan's noise has no room in it.
        """
        fixed = fixed_point(contribution, sites=len(self.party.roster.sites))
        return header.Question(
            bytes.fromhex(self.plan.hash),
            contribution.kind,
            training_round,
            contribution.stage,
            contribution.hash,
            contribution.narrow,
            contribution.wide,
            fixed.clip_norm,
            fixed.narrow_scale,
            fixed.wide_scale,
            noise_steps(contribution, fixed),
            contribution.companions,
            model,
        )

    def coins(self, begun: Round) -> bytes:
        """Key of the rounding keystream. As batches do, it follows from the plan: it hides nothing."""
        asked = begun.signed.header
        words = (self.plan.seeds.training, self.party.site, asked.purpose, asked.training_round, asked.stage)
        return hashlib.sha256(f"consilium/1/rounding {words!r}".encode()).digest()

    def noise(self, begun: Round, random: Random | None = None) -> NDArray[np.int32] | NDArray[np.int64] | None:
        """This site's share of the noise in a round's sum, in steps, for `report.Contribution`; None for none.

        Every entry that takes part in the round has it, also where this site adds nothing else. Each call draws anew:
        it is for one report, which is stored and sent again as it is. random: without it, this site's own.
        """
        asked = begun.signed.header
        if asked.noise == 0:
            return None
        whole = self.contributions.of(asked.purpose, asked.stage).entries_of(asked.blocks, asked.pairs)
        taking_part = whole[: asked.narrow] if asked.narrow else whole
        result = np.zeros(len(taking_part), dtype=np.int32 if asked.narrow else np.int64)
        for start in range(0, len(result), _BLOCK):
            chosen = taking_part[start : start + _BLOCK]
            drawn = discrete_gaussian(int(chosen.sum()), sigma=asked.noise, random=random or self.random)
            result[start : start + _BLOCK][chosen] = drawn.astype(result.dtype)  # modulo the ring
        return result

    def _asked(self, asked: Header) -> Contribution:
        try:
            return self.contributions.of(asked.purpose, asked.stage)
        except ValueError as error:
            raise Refusal("malformed_message", f"{error}.") from None


def _eighths(levels: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(level * EIGHTHS) for level in levels)
