"""How a roster comes about: cards, a proposal, signatures; and all of it in one go for a simulation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from common.errors import ConsiliumError
from common.secagg.messages import Roster, SignedRoster, SiteCard
from common.secagg.primitives import SigningKey, verify
from common.secagg.roster.rules import (
    LEAST_COHORT,
    check_form,
    enough_signers,
    keys_of,
    newcomers_of,
    renewed_of,
    roster_hash,
)

MOST_MEMBERS = 41


@dataclass(frozen=True)
class EnrolCard:
    """What a site sends to be enrolled. signature: of the card, with its own key (kind `enrol`).

    renewal: where the site replaces its key, the old key's signature of the same card; else empty.
    """

    card: SiteCard
    signature: bytes
    renewal: bytes = b""


@dataclass(frozen=True)
class RosterSignature:
    """A site's signature (kind `roster`) of the roster with this hash."""

    roster: bytes
    site: str
    signature: bytes


def enrol(site: str, key: SigningKey, *, old: SigningKey | None = None) -> EnrolCard:
    """The card of `site`. old: the key that `key` is to replace, in the roster so far."""
    card = SiteCard(site, key.verify_key)
    return EnrolCard(card, key.sign("enrol", card), b"" if old is None else old.sign("enrol", card))


def propose(
    cards: Sequence[EnrolCard],
    *,
    federation: str,
    coordinator: bytes,
    colluding: int,
    min_sites: int = LEAST_COHORT,
    previous: Roster | None = None,
    missing: int | None = None,
) -> SignedRoster:
    """A roster of exactly these sites that nobody has signed yet. Raises ConsiliumError for what no site would accept.

    cards: of all sites, in any order; a site of `previous` without a card leaves. coordinator: its Ed25519 key.
    colluding: f. min_sites: m is at least this. missing: d, the committee members that may vanish (None: as many as f
    allows in a committee of at most 41). C = min(n, max(3, f + 2d + 1)), t = C - d.
    """
    by_site = {card.card.site: card for card in sorted(cards, key=lambda card: card.card.site)}
    if len(by_site) < len(cards):
        raise ConsiliumError("Two of the cards name the same site; each site sends one card.")
    names, least = tuple(by_site), max(LEAST_COHORT, colluding + 2, min_sites)
    if len(names) < least:
        raise ConsiliumError(
            f"{len(names)} card(s) given; {least} are needed where {colluding} site(s) may collude "
            f"and a sum takes at least {min_sites}."
        )
    size, threshold = _committee_numbers(len(names), colluding, missing)
    roster = Roster(
        federation=federation,
        number=1 if previous is None else previous.number + 1,
        previous=b"" if previous is None else roster_hash(previous),
        coordinator=coordinator,
        sites=names,
        keys=tuple(card.card.verify_key for card in by_site.values()),
        committee=_committee(names, size, previous),
        threshold=threshold,
        colluding=colluding,
        min_cohort=least,
    )
    newcomers, renewed = newcomers_of(roster, previous), renewed_of(roster, previous)
    check_form(roster)
    _check_cards(by_site, newcomers, renewed, previous)
    return SignedRoster(
        roster=roster,
        signers=(),
        signatures=(),
        newcomers=newcomers,
        cards=tuple(by_site[name].signature for name in newcomers),
        renewed=renewed,
        renewals=tuple(by_site[name].renewal for name in renewed),
    )


def sign(roster: Roster, *, site: str, key: SigningKey) -> RosterSignature:
    """This site's signature. Whether it may sign is decided in client/secure/keys.py."""
    return RosterSignature(roster_hash(roster), site, key.sign("roster", roster))


def add_signature(signed: SignedRoster, signature: RosterSignature, *, previous: Roster | None) -> SignedRoster:
    """`signed` with one signature more. Raises ConsiliumError for one that does not count."""
    if signature.roster != roster_hash(signed.roster):
        raise ConsiliumError(f"the signature of {signature.site} is for another roster.")
    key = keys_of(signed.roster if previous is None else previous).get(signature.site)
    if key is None:
        raise ConsiliumError(f"{signature.site} was not in the roster before, so its signature does not count.")
    if not verify(key, "roster", signed.roster, signature.signature):
        raise ConsiliumError(f"the signature was not made with the key of {signature.site}.")
    together = dict(zip(signed.signers, signed.signatures, strict=True)) | {signature.site: signature.signature}
    signers = tuple(sorted(together))
    return replace(signed, signers=signers, signatures=tuple(together[name] for name in signers))


def still_missing(signed: SignedRoster, *, previous: Roster | None) -> tuple[tuple[str, ...], bool]:
    """Sites that may sign and have not, and whether those that have are enough for every site to accept."""
    voters = (signed.roster if previous is None else previous).sites
    names = tuple(name for name in voters if name not in signed.signers)
    return names, not names if previous is None else enough_signers(len(signed.signers), previous)


def found(
    sites: Mapping[str, SigningKey],
    *,
    federation: str,
    coordinator: SigningKey,
    colluding: int = 0,
    min_sites: int = LEAST_COHORT,
    missing: int | None = None,
) -> SignedRoster:
    """The first roster of `sites`, signed by all: for simulations, where one process holds every key."""
    cards = [enrol(name, key) for name, key in sites.items()]
    signed = propose(
        cards,
        federation=federation,
        coordinator=coordinator.verify_key,
        colluding=colluding,
        min_sites=min_sites,
        missing=missing,
    )
    for name, key in sites.items():
        signed = add_signature(signed, sign(signed.roster, site=name, key=key), previous=None)
    return signed


def _committee(names: tuple[str, ...], size: int, previous: Roster | None) -> tuple[str, ...]:
    """`size` of the sites: those that were members stay, the rest by name. Any will do, since f holds for all sites."""
    before = () if previous is None else previous.committee
    return tuple(sorted(sorted(names, key=lambda name: (name not in before, name))[:size]))


def _committee_numbers(sites: int, colluding: int, missing: int | None) -> tuple[int, int]:
    """C and t."""
    most = (min(sites, MOST_MEMBERS) - colluding - 1) // 2
    d = max(0, most if missing is None else missing)
    size = min(sites, max(LEAST_COHORT, colluding + 2 * d + 1))
    if 2 * d >= size - colluding:
        raise ConsiliumError(
            f"aggregation.absent_members = {d} is too many for {sites} sites of which {colluding} may collude: "
            f"at most {(sites - colluding - 1) // 2} is allowed."
        )
    return size, size - d


def _check_cards(
    cards: Mapping[str, EnrolCard], newcomers: Sequence[str], renewed: Sequence[str], previous: Roster | None
) -> None:
    for name in newcomers:
        if not verify(cards[name].card.verify_key, "enrol", cards[name].card, cards[name].signature):
            raise ConsiliumError(f"The card of {name} is not signed with its own key; ask {name} for its card again.")
    old = {} if previous is None else keys_of(previous)
    for name in renewed:
        if not verify(old[name], "enrol", cards[name].card, cards[name].renewal):
            raise ConsiliumError(
                f"The card of {name} has a new key that its old key has not signed; a site that lost its key "
                "leaves by one roster and joins by the next."
            )
