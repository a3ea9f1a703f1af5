"""A secure session with the sites of a run: their signed cards in, the list of all of them out."""

import os
from collections.abc import Collection
from dataclasses import dataclass

from flwr.serverapp import Grid

from common.errors import Refusal, RunError, TooFewSites
from common.model import Layout
from common.plan import Plan
from common.secagg.encoding import decode, encode
from common.secagg.messages import CloseSession, OpenSession, Roster, SessionCard, SessionCards, SignedCard
from common.secagg.primitives import ExchangeKey, digest
from common.secagg.session import check_card
from server.cohort import NODE, Cohort
from server.declarations import TWICE, Declaration, cohort_of, question
from server.exchange import LATE, Answers, Question, ask
from server.journal import Journal
from server.secure_state import CoordinatorKeys, Kept, Opened, SecureState, load_kept

ERASED = "session_erased"
_EIGHTHS = 8
SignedBy = tuple[SessionCard, bytes]


@dataclass(frozen=True)
class Opening:
    """Opens a session for `plan` over `grid`, or goes on with the one that the journal knows."""

    plan: Plan
    grid: Grid
    journal: Journal
    keys: CoordinatorKeys

    def check_roster(self) -> None:
        """Raises RunError unless the roster is for sums as the plan has them."""
        roster, rules = self.keys.roster, self.plan.aggregation
        if roster.colluding != rules.colluding_sites or roster.min_cohort > rules.least_sites:
            raise RunError(
                f"the roster is for colluding_sites = {roster.colluding} and sums over {roster.min_cohort} sites or "
                f"more, the plan's aggregation for {rules.colluding_sites} and {rules.least_sites} (min_sites); write "
                "the same in both."
            )

    def open(self, nodes: Collection[int]) -> tuple[Cohort, dict[str, str], SecureState]:
        """The cohort among `nodes`, the code of each node or site that declined, and the session. Raises TooFewSites.

        A node that does not answer is waited for once.
        """
        kept = load_kept(self.journal)
        opened = () if kept is None else kept.opened  # whatever the session, what was summed stays with the journal
        if kept is not None and kept.cards.cards[0].roster != digest(self.keys.roster):
            kept = None
        if kept is not None:
            cohort, failed = self._declared(nodes, kept.session)
            if not _lost(kept, cohort, failed):
                return self._complete(cohort, failed, kept)
            silent = {name: code for name, code in failed.items() if code == LATE}
            nodes = [node for node in nodes if f"{NODE}{node}" not in silent]  # all others begin a new one
        else:
            silent = {}
        cohort, failed = self._declared(nodes, os.urandom(32))
        return self._complete(cohort, silent | failed, None, opened)

    def join(
        self, cohort: Cohort, state: SecureState, answers: Answers, *, taken: Collection[str], prompt: Collection[int]
    ) -> tuple[Cohort, dict[str, str], SecureState]:
        """As `open`: `cohort`, in the session of `state`, with the newcomers that gave `answers` to its `question`.

        taken: sites of the cohort that are connected. prompt: nodes of it that others are not waited for longer than.
        """
        come, failed = self._checked(answers, state.session, taken=taken)
        if not _lost(state.kept, come, failed) and not set(come.levels) & set(taken):
            if not come.names:
                return cohort, named(failed, self._missing(cohort, failed)), state
            come, declined = self._take_cards(come, state.kept)
            return cohort.plus(come) if come.names else cohort, failed | declined, state
        nodes = {node for node, site in cohort.names.items() if site in taken} | set(answers.contents)
        nodes |= {node for node, code in answers.failed.items() if code == ERASED}
        needed = prompt or None
        everybody, declined = self._declared(nodes, os.urandom(32), needed=needed)
        failed = {f"{NODE}{node}": code for node, code in answers.failed.items() if node not in nodes}
        return self._complete(everybody, failed | declined, None, state.kept.opened, needed=needed)

    def question(self, session: bytes) -> Question:
        """Of a node that is not in the session yet."""
        return question(Layout(self.plan), protocol=encode(self._request(session)))

    def _request(self, session: bytes) -> OpenSession:
        return OpenSession(session, digest(self.keys.roster), bytes.fromhex(self.plan.hash))

    def _declared(
        self, nodes: Collection[int], session: bytes, *, needed: Collection[int] | None = None
    ) -> tuple[Cohort, dict[str, str]]:
        timeout_s = self.plan.aggregation.round_timeout_s
        answers = ask(self.grid, nodes, self.question(session), timeout_s=timeout_s, needed=needed)
        return self._checked(answers, session)

    def _checked(
        self, answers: Answers, session: bytes, *, taken: Collection[str] = ()
    ) -> tuple[Cohort, dict[str, str]]:
        """Those whose card is their own."""
        layout, request = Layout(self.plan), self._request(session)

        def check(declared: Declaration) -> str:
            try:
                check_own_card(self.keys.roster, request, declared, blocks=len(layout.block_names))
            except Refusal as refusal:
                return refusal.code
            return ""

        cohort, failed = cohort_of(answers, layout, check=check, taken=taken)
        cards = dict(zip(sorted(cohort.levels), _cards(cohort), strict=True))
        keys = [card.exchange_key for card, _ in cards.values()]
        twice = [site for site, (card, _) in cards.items() if keys.count(card.exchange_key) > 1]  # a copied one
        return cohort.without(twice), failed | dict.fromkeys(twice, "exchange_key_twice")

    def _complete(
        self,
        cohort: Cohort,
        failed: dict[str, str],
        kept: Kept | None,
        opened: tuple[Opened, ...] = (),
        *,
        needed: Collection[int] | None = None,
    ) -> tuple[Cohort, dict[str, str], SecureState]:
        """The list of cards at every site. kept: of the session that goes on; None: this is a new one."""
        failed, least = named(failed, self._missing(cohort, failed)), self.plan.aggregation.least_sites
        if len(cohort.names) < least:
            reasons = ", ".join(f"{site}: {code}" for site, code in failed.items()) or "no other answered"
            raise TooFewSites(f"{len(cohort.names)} site(s) enrolled, the plan asks for {least} ({reasons}).")
        cards = _cards(cohort)
        kept = Kept(cards[0][0].session, _listed(cards), opened=opened) if kept is None else kept
        cohort, declined = self._take_cards(cohort, kept, needed=needed)
        return cohort, failed | declined, SecureState(self.keys, kept)

    def _take_cards(
        self, cohort: Cohort, kept: Kept, *, needed: Collection[int] | None = None
    ) -> tuple[Cohort, dict[str, str]]:
        question = Question("query.cards", self.plan.hash, protocol=encode(kept.cards))
        timeout_s = self.plan.aggregation.round_timeout_s
        answers = ask(self.grid, cohort.names, question, timeout_s=timeout_s, needed=needed)
        declined = {cohort.names[node]: code for node, code in answers.failed.items()}
        return cohort.without(declined), declined

    def _missing(self, cohort: Cohort, failed: dict[str, str]) -> set[str]:
        """Sites of the roster of which nothing was heard."""
        return set(self.keys.roster.sites) - set(cohort.levels) - set(failed)


def check_own_card(roster: Roster, request: OpenSession, declared: Declaration, *, blocks: int) -> None:
    """Raises Refusal unless the card is of the site that it came from, and says what this declares."""
    signed = decode(SignedCard, declared.card)
    check_card(roster, request, signed.card, signed.signature, blocks=blocks)
    if ExchangeKey.new(os.urandom).agree(signed.card.exchange_key) is None:
        raise Refusal("weak_exchange_key", f"{declared.site}: no secret can be agreed with its key.")
    levels = [level / _EIGHTHS for level in signed.card.levels]
    if signed.card.site != declared.site or levels != declared.levels.tolist():
        raise Refusal("card_of_another", f"{declared.site}: its card says something else than its declaration.")


def named(failed: dict[str, str], missing: set[str]) -> dict[str, str]:
    """`failed` with names where the roster tells whose they are: a node that declines gives none.

    missing: sites of the roster of which nothing was heard. They are the nodes if there are as many, all with one code.
    """
    nodes = {name for name, code in failed.items() if name.startswith(NODE) and code != TWICE}  # which accuses
    if len(nodes) != len(missing) or len({failed[node] for node in nodes}) != 1:
        return failed
    code = failed[next(iter(nodes))]
    return {name: each for name, each in failed.items() if name not in nodes} | dict.fromkeys(sorted(missing), code)


def close_session(state: SecureState, grid: Grid, cohort: Cohort, plan: Plan) -> None:
    """Have the sites erase the session's keys; one that does not hear it erases them after 30 days."""
    question = Question("query.close", plan.hash, protocol=encode(CloseSession(state.session)))
    ask(grid, cohort.names, question, timeout_s=plan.aggregation.round_timeout_s)


def _lost(kept: Kept, cohort: Cohort, failed: dict[str, str]) -> bool:
    """Whether a site has lost the session: its store is new, was put back, or has erased what was open too long.

    So it is where two nodes show a site's card: all others in the session know it, but only the site can sign another.
    """
    twice = {site for site, code in failed.items() if code == TWICE} & {card.site for card in kept.cards.cards}
    return bool(twice) or ERASED in failed.values() or not set(_cards(cohort)) <= _known(kept)


def _known(kept: Kept) -> set[SignedBy]:
    return set(zip(kept.cards.cards, kept.cards.signatures, strict=True))


def _cards(cohort: Cohort) -> list[SignedBy]:
    """Cards that were checked, with their signatures, by site."""
    signed = [decode(SignedCard, cohort.cards[site]) for site in sorted(cohort.levels)]
    return [(each.card, each.signature) for each in signed]


def _listed(cards: list[SignedBy]) -> SessionCards:
    first, second = zip(*cards, strict=True)
    return SessionCards(tuple(first), tuple(second))
