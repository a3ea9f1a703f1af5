"""Attacks when a session is opened: keys that are not the sites', lists that are not the same, sessions of others."""

from dataclasses import replace
from typing import Any

from client.secure.answers import MOST_SESSIONS
from common.secagg.encoding import encode
from common.secagg.messages import SessionCard, SessionCards
from common.secagg.primitives import ExchangeKey, digest
from common.secagg.seeds import Bound, pair_key
from experiments.attacks.attacker import Attacker
from experiments.attacks.measure import Measured
from experiments.attacks.registry import attack
from experiments.attacks.stage import COLLUDER, VICTIM, Stage, blocks, signed_report


def _changed(cards: SessionCards, site: str, **changes: Any) -> SessionCards:
    return replace(cards, cards=tuple(replace(c, **changes) if c.site == site else c for c in cards.cards))


def _resigned(stage: Stage, cards: SessionCards, site: str, **changes: Any) -> SessionCards:
    """The list with one card changed and signed again by its own site, which sides with the coordinator."""
    changed = _changed(cards, site, **changes)
    at = [card.site for card in cards.cards].index(site)
    signatures = list(changed.signatures)
    signatures[at] = stage.keys[site].sign("session-key", changed.cards[at])
    return replace(changed, signatures=tuple(signatures))


def _give(stage: Stage, cards: SessionCards, name: str = VICTIM) -> None:
    stage.sites[name].take_cards(encode(cards))


@attack("swapped keys", guard="card_not_signed", where="site")
def swapped_keys(stage: Stage) -> Measured:
    """The victim is handed exchange keys of the coordinator's own making in the names of all others."""
    cards = stage.open_session()
    swapped, keys = cards, {}
    for name in (card.site for card in cards.cards if card.site != VICTIM):
        keys[name] = ExchangeKey.new(stage.random)
        swapped = _changed(swapped, name, exchange_key=keys[name].public_bytes)
    _give(stage, swapped)
    victim = next(card for card in cards.cards if card.site == VICTIM)
    bound = Bound(digest(stage.roster), stage.session, digest(swapped))
    for site in stage.sites:
        if site != VICTIM:
            _give(stage, cards, site)
    signed = stage.signed(cards=digest(swapped))
    data, attacker = stage.report(VICTIM, signed), Attacker(stage, signed)
    ciphertexts = signed_report(data, signed.header).ciphertexts
    for name, key in keys.items():
        common = pair_key(key.agree(victim.exchange_key) or b"", bound, VICTIM, name)
        attacker.learn_pair(name, common)
        if name in stage.roster.committee:
            attacker.learn_sealed(name, VICTIM, ciphertexts[stage.roster.committee.index(name)], common)
    return attacker.open(data)


@attack("own card changed", guard="own_card_changed", where="site")
def own_card_changed(stage: Stage) -> None:
    """The victim's own card is missing from its list."""
    cards = stage.open_session()
    _give(stage, SessionCards(cards.cards[1:], cards.signatures[1:]))


@attack("a card twice", guard="cards_not_sorted", where="site")
def card_twice(stage: Stage) -> None:
    """One site's card stands twice in the list."""
    cards = stage.open_session()
    _give(stage, SessionCards((*cards.cards, cards.cards[-1]), (*cards.signatures, cards.signatures[-1])))


@attack("unsigned cards", guard="cards_unsigned", where="site")
def unsigned_cards(stage: Stage) -> None:
    """A list with fewer signatures than cards."""
    cards = stage.open_session()
    _give(stage, SessionCards(cards.cards, cards.signatures[:-1]))


@attack("one key for two sites", guard="exchange_key_twice", where="site")
def one_key_twice(stage: Stage) -> None:
    """A colluding site signs a card with another site's key, to stand in two places."""
    cards = stage.open_session()
    key = next(card.exchange_key for card in cards.cards if card.site == "cedar")
    _give(stage, _resigned(stage, cards, COLLUDER, exchange_key=key))


@attack("card of an earlier session", guard="card_of_another_session", where="site")
def old_card(stage: Stage) -> None:
    """A colluding site's card is signed, but for another session."""
    cards = stage.open_session()
    _give(stage, _resigned(stage, cards, COLLUDER, session=bytes(32)))


@attack("card of an unknown site", guard="card_of_stranger", where="site")
def unknown_card(stage: Stage) -> None:
    """The coordinator adds a card of a site that is in no roster."""
    cards = stage.open_session()
    key = ExchangeKey.new(stage.random).public_bytes
    card = SessionCard(stage.session, digest(stage.roster), stage.request.plan, "zelkova", key, cards.cards[0].levels)
    signature = stage.coordinator.sign("session-key", card)
    _give(stage, SessionCards((*cards.cards, card), (*cards.signatures, signature)))


@attack("levels that tell a count", guard="card_levels", where="site")
def telling_levels(stage: Stage) -> None:
    """A colluding site declares a level that is none of the four."""
    cards = stage.open_session()
    levels = (3, *cards.cards[0].levels[1:])
    _give(stage, _resigned(stage, cards, COLLUDER, levels=levels))


@attack("a key that agrees on nothing", guard="weak_exchange_key", where="site")
def weak_key(stage: Stage) -> None:
    """A colluding site's key is of small order: whatever is agreed with it is zero."""
    _give(stage, _resigned(stage, stage.open_session(), COLLUDER, exchange_key=bytes(32)))


@attack("a second list of cards", guard="second_card_list", where="site")
def second_list(stage: Stage) -> None:
    """After the session's list is settled, the victim is handed one with a site fewer."""
    cards = stage.cards
    _give(stage, SessionCards(cards.cards[:-1], cards.signatures[:-1]))


@attack("a round before the cards", guard="session_without_cards", where="site")
def round_before_cards(stage: Stage) -> None:
    """A round begins before any list of cards was checked."""
    stage.report(VICTIM, stage.signed(cards=digest(stage.open_session())))


@attack("session of another roster", guard="other_roster", where="site")
def session_of_other_roster(stage: Stage) -> None:
    """A session is opened under a roster that this site has left behind."""
    _open(stage, roster=bytes(32))


@attack("session of another plan", guard="other_plan", where="site")
def session_of_other_plan(stage: Stage) -> None:
    """A session is opened for a plan that this site has not approved."""
    _open(stage, plan=bytes(32))


@attack("a session's name that is no name", guard="session_name", where="site")
def nameless_session(stage: Stage) -> None:
    """A session is opened under the empty name."""
    _open(stage, session=b"")


@attack("sessions without end", guard="too_many_sessions", where="site")
def endless_sessions(stage: Stage) -> None:
    """One session after another is opened and never closed, until the victim's disk is full."""
    for _ in range(MOST_SESSIONS + 1):
        _open(stage, session=stage.random(32))


def _open(stage: Stage, **changes: Any) -> None:
    stage.sites[VICTIM].open(encode(replace(stage.request, **changes)), [1.0] * blocks())
