"""Attacks with the roster: who is in it, with which keys, who agreed, and numbers that make masks open too easily."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from common.secagg import roster as rosters
from common.secagg.messages import Roster, SignedRoster
from common.secagg.primitives import SigningKey
from experiments.attacks.registry import attack
from experiments.attacks.stage import COLLUDER, OUTSIDER, SITES, VICTIM, Stage

LEAST = {"least_cohort": 3, "least_colluding": 0}


def accept(
    stage: Stage, new: SignedRoster, *, previous: Roster | None = None, approve: bool = True, **policy: int
) -> None:
    """The victim, whose operator approved `new` unless said otherwise, is asked to accept it."""
    rosters.check_roster(
        new,
        previous=previous,
        site=VICTIM,
        verify_key=stage.keys[VICTIM].verify_key,
        approved=rosters.roster_hash(new.roster) if approve else b"",
        **(LEAST | policy),
    )


def _signed(stage: Stage, new: SignedRoster, signers: tuple[str, ...] = SITES) -> SignedRoster:
    """`new`, signed with the keys of these sites."""
    signatures = tuple(stage.keys[name].sign("roster", new.roster) for name in signers)
    return replace(new, signers=signers, signatures=signatures)


def first(stage: Stage, **changes: Any) -> SignedRoster:
    """The first roster with changes, which every founding site was talked into signing."""
    return _signed(stage, replace(stage.signed_roster, roster=replace(stage.roster, **changes)))


def _next(
    stage: Stage, change: Callable[[SignedRoster], SignedRoster] = lambda new: new, **changes: Any
) -> SignedRoster:
    """A second roster of the same sites with changes, which all signed."""
    following: dict[str, Any] = {"number": 2, "previous": rosters.roster_hash(stage.roster)} | changes
    empty: dict[str, Any] = {"newcomers": (), "cards": (), "renewed": (), "renewals": ()}
    return _signed(stage, change(replace(stage.signed_roster, roster=replace(stage.roster, **following), **empty)))


def _keys(stage: Stage, **changed: bytes) -> tuple[bytes, ...]:
    return tuple(changed.get(name, key) for name, key in zip(SITES, stage.roster.keys, strict=True))


@attack("a roster that the operator did not approve", guard="roster_not_approved", where="roster")
def unapproved(stage: Stage) -> None:
    """All sites signed; the victim's own operator has not looked at it."""
    accept(stage, stage.signed_roster, approve=False)


@attack("unapproved Sybil roster", guard="roster_quorum", where="roster")
def sybil(stage: Stage) -> None:
    """Nine new hospitals of the coordinator's making join, and they are the ones who agree."""
    made = {f"new{number}": SigningKey.new(stage.random) for number in range(9)}
    cards = [rosters.enrol(name, key) for name, key in (stage.keys | made).items()]
    new = rosters.propose(
        cards, federation="grove", coordinator=stage.coordinator.verify_key, colluding=1, previous=stage.roster
    )
    accept(stage, _signed(stage, new, (COLLUDER,)), previous=stage.roster)


@attack("an old roster", guard="roster_number", where="roster")
def old(stage: Stage) -> None:
    """The first roster is put before a site that has the second."""
    accept(stage, stage.signed_roster, previous=_next(stage).roster)


@attack("a roster after another one", guard="roster_previous", where="roster")
def other_line(stage: Stage) -> None:
    """A second roster that follows another first one."""
    accept(stage, _next(stage, previous=bytes(32)), previous=stage.roster)


@attack("this site's own key swapped", guard="roster_own_key", where="roster")
def own_key(stage: Stage) -> None:
    """The roster holds another key in the victim's own name."""
    key = SigningKey.new(stage.random)
    stage_keys = _keys(stage, **{VICTIM: key.verify_key})
    old_card = rosters.enrol(VICTIM, key, old=stage.keys[VICTIM])
    new = _next(stage, lambda n: replace(n, renewed=(VICTIM,), renewals=(old_card.renewal,)), keys=stage_keys)
    accept(stage, new, previous=stage.roster)


@attack("a peer's key swapped", guard="roster_renewal_not_signed", where="roster")
def peer_key(stage: Stage) -> None:
    """cedar has a new key, which the coordinator made and cedar's old key did not sign."""
    key = SigningKey.new(stage.random)
    card = rosters.enrol("cedar", key, old=key)
    new = _next(
        stage,
        lambda n: replace(n, renewed=("cedar",), renewals=(card.renewal,)),
        keys=_keys(stage, cedar=key.verify_key),
    )
    accept(stage, new, previous=stage.roster)


@attack("a peer's key swapped in silence", guard="roster_renewed", where="roster")
def silent_key(stage: Stage) -> None:
    """cedar has a new key, and the roster does not list it among the changes."""
    key = SigningKey.new(stage.random)
    accept(stage, _next(stage, keys=_keys(stage, cedar=key.verify_key)), previous=stage.roster)


@attack("a newcomer without a card of its own", guard="roster_card_not_signed", where="roster")
def no_card(stage: Stage) -> None:
    """A founding site's card is signed by the coordinator."""
    cards = list(stage.signed_roster.cards)
    cards[SITES.index(OUTSIDER)] = stage.coordinator.sign("enrol", stage.roster)
    accept(stage, _signed(stage, replace(stage.signed_roster, cards=tuple(cards))))


@attack("a newcomer that is not named as one", guard="roster_newcomers", where="roster")
def silent_newcomer(stage: Stage) -> None:
    """One site joins without being listed among those that do."""
    new = replace(stage.signed_roster, newcomers=SITES[:-1], cards=stage.signed_roster.cards[:-1])
    accept(stage, _signed(stage, new))


@attack("a founding site that did not sign", guard="roster_founder_missing", where="roster")
def founder(stage: Stage) -> None:
    """The first roster lacks one site's signature."""
    accept(stage, _signed(stage, stage.signed_roster, SITES[:-1]))


@attack("a signer twice", guard="roster_signers_not_sorted", where="roster")
def signer_twice(stage: Stage) -> None:
    """One colluding site's signature makes up the quorum of a second roster."""
    accept(stage, _signed(stage, _next(stage), (COLLUDER,) * 4), previous=stage.roster)


@attack("a forged signature of a roster", guard="roster_signature", where="roster")
def forged(stage: Stage) -> None:
    """One site's signature is made with another site's key."""
    new = _signed(stage, _next(stage))
    signatures = (*new.signatures[:-1], stage.keys[COLLUDER].sign("roster", new.roster))
    accept(stage, replace(new, signatures=signatures), previous=stage.roster)


@attack("the signature of a card used for a roster", guard="roster_signature", where="roster")
def kind_confusion(stage: Stage) -> None:
    """A signature of the kind `enrol` over the same bytes is counted as an agreement."""
    new = _signed(stage, _next(stage))
    signatures = (*new.signatures[:-1], stage.keys[OUTSIDER].sign("enrol", new.roster))
    accept(stage, replace(new, signatures=signatures), previous=stage.roster)
