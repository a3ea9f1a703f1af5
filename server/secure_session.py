"""A secure session with the sites of a run: their signed cards in, the list of all of them out."""

import os
from dataclasses import dataclass

from flwr.serverapp import Grid

from common.errors import Refusal, RunError, TooFewSites
from common.model import Layout
from common.plan import Plan
from common.secagg.encoding import decode, encode
from common.secagg.messages import CloseSession, OpenSession, SessionCard, SessionCards, SignedCard
from common.secagg.primitives import ExchangeKey, digest
from common.secagg.session import check_card
from server.cohort import NODE, Cohort, enrol
from server.exchange import Question, ask
from server.journal import Journal
from server.secure_state import CoordinatorKeys, Kept, SecureState, load_kept

_EIGHTHS = 8


@dataclass(frozen=True)
class Opening:
    """Opens a session for `plan` over `grid`, or goes on with the one that the journal knows.

    wanted, least, wait_s: sites to wait for, as in `wait_for_nodes`.
    """

    plan: Plan
    grid: Grid
    journal: Journal
    keys: CoordinatorKeys
    wanted: int
    wait_s: float
    least: int | None = None

    def open(self) -> tuple[Cohort, dict[str, str], SecureState]:
        """The cohort, the code of each node or site that declined, and the session. Raises RunError, TooFewSites."""
        roster, rules = self.keys.roster, self.plan.aggregation
        if roster.colluding != rules.colluding_sites or roster.min_cohort > rules.least_sites:
            raise RunError(
                f"the roster is for colluding_sites = {roster.colluding} and sums over {roster.min_cohort} sites or "
                f"more, the plan's aggregation for {rules.colluding_sites} and {rules.least_sites} (min_sites); write "
                "the same in both."
            )
        kept = load_kept(self.journal)
        opened = () if kept is None else kept.opened  # whatever the session, what was summed stays with the journal
        if kept is not None and kept.cards.cards[0].roster != digest(roster):
            kept = None
        cohort, failed, cards = self._enrol(os.urandom(32) if kept is None else kept.session, self.wait_s)
        if kept is not None and _lost(kept, cards, failed):
            kept = None
            cohort, failed, cards = self._enrol(os.urandom(32), 0.0)  # all begin a new one
        if len(cards) < rules.least_sites:
            reasons = ", ".join(f"{site}: {code}" for site, code in failed.items()) or "no other answered"
            raise TooFewSites(f"{len(cards)} site(s) enrolled, the plan asks for {rules.least_sites} ({reasons}).")
        kept = Kept(cards[0][0].session, _listed(cards), opened=opened) if kept is None else kept
        question = Question("query.cards", self.plan.hash, protocol=encode(kept.cards))
        answers = ask(self.grid, cohort.names, question, timeout_s=rules.round_timeout_s)
        declined = {cohort.names[node]: code for node, code in answers.failed.items()}
        return cohort.without(declined), failed | declined, SecureState(self.keys, kept)

    def _enrol(self, session: bytes, wait_s: float) -> tuple[Cohort, dict[str, str], list[tuple[SessionCard, bytes]]]:
        layout, roster, rules = Layout(self.plan), self.keys.roster, self.plan.aggregation
        request = OpenSession(session, digest(roster), bytes.fromhex(self.plan.hash))
        cohort, failed = enrol(
            self.grid,
            layout,
            wanted=self.wanted,
            wait_s=wait_s,
            timeout_s=rules.round_timeout_s,
            least=self.least,
            protocol=encode(request),
        )
        cards = []
        for site, levels in sorted(cohort.levels.items()):
            try:
                signed = decode(SignedCard, cohort.cards[site])
                check_card(roster, request, signed.card, signed.signature, blocks=len(layout.block_names))
                if ExchangeKey.new(os.urandom).agree(signed.card.exchange_key) is None:
                    raise Refusal("weak_exchange_key", f"{site}: no secret can be agreed with its key.")
                if signed.card.site != site or [level / _EIGHTHS for level in signed.card.levels] != levels.tolist():
                    raise Refusal("card_of_another", f"{site}: its card says something else than its declaration.")
                cards.append((signed.card, signed.signature))
            except Refusal as refusal:
                failed[site] = refusal.code
        keys = [card.exchange_key for card, _ in cards]
        twice = {card.site for card, _ in cards if keys.count(card.exchange_key) > 1}  # one has copied the other's
        failed |= dict.fromkeys(twice, "exchange_key_twice")
        cards = [each for each in cards if each[0].site not in twice]
        missing = set(roster.sites) - {card.site for card, _ in cards} - set(failed)
        return cohort.without(set(cohort.levels) & set(failed)), named(failed, missing), cards


def named(failed: dict[str, str], missing: set[str]) -> dict[str, str]:
    """`failed` with names where the roster tells whose they are: a node that declines gives none.

    missing: sites of the roster of which nothing was heard. They are the nodes if there are as many, all with one code.
    """
    nodes = {name for name in failed if name.startswith(NODE)}
    if len(nodes) != len(missing) or len({failed[node] for node in nodes}) != 1:
        return failed
    code = failed[next(iter(nodes))]
    return {name: each for name, each in failed.items() if name not in nodes} | dict.fromkeys(sorted(missing), code)


def close_session(state: SecureState, grid: Grid, cohort: Cohort, plan: Plan) -> None:
    """Have the sites erase the session's keys; one that does not hear it erases them after 30 days."""
    question = Question("query.close", plan.hash, protocol=encode(CloseSession(state.session)))
    ask(grid, cohort.names, question, timeout_s=plan.aggregation.round_timeout_s)


def _lost(kept: Kept, cards: list[tuple[SessionCard, bytes]], failed: dict[str, str]) -> bool:
    """Whether a site has lost the session: its store is new, was put back, or has erased what was open too long."""
    known = set(zip(kept.cards.cards, kept.cards.signatures, strict=True))
    return "session_erased" in failed.values() or not set(cards) <= known


def _listed(cards: list[tuple[SessionCard, bytes]]) -> SessionCards:
    first, second = zip(*cards, strict=True)
    return SessionCards(tuple(first), tuple(second))
