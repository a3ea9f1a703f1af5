"""A session at a site: a fresh exchange key, the signed cards of all sites, and the keys shared with each of them.

Erasing the session's state makes every mask of its rounds unrecoverable, whoever takes the site's machine later.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from common.secagg import checks
from common.secagg.encoding import decode, encode
from common.secagg.messages import OpenSession, Roster, SessionCard, SessionCards, SignedCard
from common.secagg.primitives import ExchangeKey, Random, SigningKey, digest, verify
from common.secagg.seeds import Bound, pair_key

LEVELS = (0, 1, 2, 4, 8)  # eighths
_IDENTIFIER = 32
_LISTS, _CARDS = 2, 2048  # remembered in encoded form: they are public, and every message of a round needs them


@dataclass(frozen=True)
class Policy:
    """What this site asks of every round, whatever the roster says. retries: further rounds on an opened model.

    other_survivors: how many of these may be over other sites.
    """

    min_cohort: int = 3
    colluding_sites: int = 0
    retries: int = 1
    other_survivors: int = 0
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Party:
    """One site: who it is, the roster that it accepted, its policy. The pair keys of open sessions are kept warm."""

    site: str
    key: SigningKey
    roster: Roster
    policy: Policy = Policy()
    _warm: dict[bytes, dict[str, bytes]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def roster_hash(self) -> bytes:
        return digest(self.roster)

    @cached_property
    def verify_keys(self) -> dict[str, bytes]:
        """Site -> its signing key, public."""
        return verify_keys_of(self.roster)

    def pair_keys(self, session: "SessionState") -> dict[str, bytes]:
        """Site -> k_ij for every other site of the session. Raises Refusal for a card whose key agrees on nothing."""
        if session.cards not in self._warm:
            self._warm[session.cards] = _agree(self.site, session)
        return self._warm[session.cards]

    def forget(self) -> None:
        """Drop all warm keys: a session was erased, and those of the others are made again when they are needed."""
        self._warm.clear()


@dataclass(frozen=True)
class SessionState:
    """What a site stores of a session before its card leaves. exchange_key: private. cards: encoded, empty at first."""

    request: OpenSession
    exchange_key: bytes
    card: SignedCard
    cards: bytes = b""

    @property
    def all_cards(self) -> SessionCards:
        checks.require(self.cards != b"", "session_without_cards", "the list of session cards has not arrived.")
        return _decoded(self.cards)

    @property
    def cards_hash(self) -> bytes:
        """The digest of `all_cards`."""
        return hashlib.sha256(self.cards).digest()


def open_session(
    party: Party, request: OpenSession, *, plan: bytes, levels: Sequence[int], random: Random
) -> SessionState:
    """A new session. plan: hash of the plan approved here. levels: eighths per block, as declared."""
    checks.require(request.roster == party.roster_hash, "other_roster", "the session is for another roster.")
    checks.require(request.plan == plan, "other_plan", "the session is for another plan.")
    checks.require(len(request.session) == _IDENTIFIER, "session_name", "a session's name has 32 bytes.")
    key = ExchangeKey.new(random)
    card = SessionCard(request.session, request.roster, plan, party.site, key.public_bytes, tuple(levels))
    return SessionState(request, key.private_bytes, SignedCard(card, party.key.sign("session-key", card)))


def accept_cards(party: Party, session: SessionState, cards: SessionCards) -> SessionState:
    """The session with all cards, after every check on them. Repeating the same list is allowed, another is not."""
    encoded = _listed(cards)
    checks.require(session.cards in (b"", encoded), "second_card_list", "the session has other cards already.")
    if session.cards:
        return session
    own = session.card.card
    checks.require(own in cards.cards, "own_card_changed", "the list does not hold this site's own card.")
    check_cards(party.roster, session.request, cards, blocks=len(own.levels))
    complete = replace(session, cards=encoded)
    party.pair_keys(complete)
    return complete


def check_cards(roster: Roster, request: OpenSession, cards: SessionCards, *, blocks: int) -> None:
    """What both sides hold a list of cards against."""
    names = [card.site for card in cards.cards]
    checks.require(checks.strictly_sorted(names), "cards_not_sorted", "the cards are not sorted by site.")
    checks.require(len(cards.signatures) == len(names), "cards_unsigned", "cards and signatures differ in number.")
    known = verify_keys_of(roster)
    for card, signature in zip(cards.cards, cards.signatures, strict=False):
        _check_card(known, request, card, signature, blocks=blocks)
    keys = {card.exchange_key for card in cards.cards}
    checks.require(len(keys) == len(names), "exchange_key_twice", "two cards hold the same key.")


def check_card(roster: Roster, request: OpenSession, card: SessionCard, signature: bytes, *, blocks: int) -> None:
    """One card: of this session, of an enrolled site, well formed and signed by that site."""
    _check_card(verify_keys_of(roster), request, card, signature, blocks=blocks)


def verify_keys_of(roster: Roster) -> dict[str, bytes]:
    """Site -> its signing key, public."""
    return dict(zip(roster.sites, roster.keys, strict=True))


def _check_card(
    known: Mapping[str, bytes], request: OpenSession, card: SessionCard, signature: bytes, *, blocks: int
) -> None:
    bound = (card.session, card.roster, card.plan) == (request.session, request.roster, request.plan)
    checks.require(bound, "card_of_another_session", f"{card.site!r}: the card is for another session.")
    checks.require(card.site in known, "card_of_stranger", f"{card.site!r} is not in the roster.")
    levels = len(card.levels) == blocks and set(card.levels) <= set(LEVELS)
    checks.require(levels, "card_levels", f"{card.site!r}: the declared levels are not those of this plan's blocks.")
    signed = verify(known.get(card.site, b""), "session-key", _encoded(card), signature)
    checks.require(signed, "card_not_signed", f"{card.site!r}: the card is not signed by that site.")


def _agree(site: str, session: SessionState) -> dict[str, bytes]:
    own, cards = ExchangeKey.from_bytes(session.exchange_key), session.all_cards
    bound = Bound(session.request.roster, session.request.session, session.cards_hash)
    result = {}
    for card in cards.cards:
        if card.site == site:
            continue
        agreed = own.agree(card.exchange_key)
        checks.require(agreed is not None, "weak_exchange_key", f"{card.site!r}: no secret can be agreed with its key.")
        result[card.site] = pair_key(agreed or b"", bound, site, card.site)
    return result


@lru_cache(maxsize=_LISTS)
def _decoded(cards: bytes) -> SessionCards:
    return decode(SessionCards, cards)


@lru_cache(maxsize=_LISTS)
def _listed(cards: SessionCards) -> bytes:
    return encode(cards)


@lru_cache(maxsize=_CARDS)
def _encoded(card: SessionCard) -> bytes:
    return encode(card)
