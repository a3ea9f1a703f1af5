"""The coordinator's part in a roster: its key file, the proposal from the sites' cards, the signed roster."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.errors import ConsiliumError
from common.files import check_target, exists, read_bytes, read_private, write_atomic, write_private
from common.secagg import roster
from common.secagg.json_view import from_json, to_json
from common.secagg.key_pem import key_from_pem, key_to_pem
from common.secagg.messages import Roster, SignedRoster
from common.secagg.primitives import Random, SigningKey

_SITE_KEY = "signing.key"  # as client/secure/keys.py names it


def load_coordinator_key(path: Path) -> SigningKey:
    """The coordinator's key; raises ConsiliumError if it is absent, damaged, or if others may read its file."""
    return key_from_pem(read_private(path), source=str(path))


def write_proposal(
    cards: Sequence[Path],
    *,
    federation: str,
    colluding: int,
    min_sites: int,
    previous: Path | None,
    key: Path,
    out: Path,
    random: Random,
) -> tuple[SignedRoster, Roster | None]:
    """Write the proposal to `out`; the coordinator's key too, if it is absent and this is the first roster.

    Returns the proposal and the previous roster. Raises ConsiliumError, and then writes nothing.
    """
    _check_out(out, key=key, previous=previous)
    before = None if previous is None else read_roster(previous).roster
    known = exists(key) or before is not None
    coordinator = load_coordinator_key(key) if known else SigningKey.new(random)
    enrolled = [from_json(roster.EnrolCard, read_bytes(path), source=str(path)) for path in cards]
    _check_one_each(cards, enrolled)
    proposal = roster.propose(
        enrolled,
        federation=federation,
        coordinator=coordinator.verify_key,
        colluding=colluding,
        min_sites=min_sites,
        previous=before,
    )
    if not exists(key):
        write_private(key, key_to_pem(coordinator))
    write_atomic(out, to_json(proposal))
    return proposal, before


def collect_signatures(
    proposal: Path, signatures: Sequence[Path], *, previous: Path | None, out: Path
) -> tuple[SignedRoster, tuple[str, ...], bool]:
    """Write the proposal with the signatures added to `out`; it may hold some already.

    Returns it, the sites that have not signed, and whether the signatures are enough. Raises ConsiliumError.
    """
    _check_out(out, previous=previous)
    signed = read_roster(proposal)
    before = None if previous is None else read_roster(previous).roster
    expected = b"" if before is None else roster.roster_hash(before)
    if signed.roster.previous != expected:
        wrong = "needs the roster before it: --previous ROSTER" if before is None else f"does not follow {previous}"
        raise ConsiliumError(f"{proposal}: roster {signed.roster.number} {wrong}.")
    present = zip(signed.signers, signed.signatures, strict=False)
    hashed = roster.roster_hash(signed.roster)
    found = [(proposal, roster.RosterSignature(hashed, site, signature)) for site, signature in present]
    found += [(path, from_json(roster.RosterSignature, read_bytes(path), source=str(path))) for path in signatures]
    signed = replace(signed, signers=(), signatures=())
    for path, one in found:
        try:
            signed = roster.add_signature(signed, one, previous=before)
        except ConsiliumError as error:
            raise ConsiliumError(f"{path}: {error}") from None
    write_atomic(out, to_json(signed))
    return signed, *roster.still_missing(signed, previous=before)


def read_roster(path: Path) -> SignedRoster:
    """A roster file, signed or not. Raises ConsiliumError."""
    return from_json(SignedRoster, read_bytes(path), source=str(path))


def _check_out(out: Path, *, key: Path | None = None, previous: Path | None) -> None:
    if key is not None and out.resolve() == key.resolve():  # the key may not exist yet
        raise ConsiliumError(f"{out}: is where the coordinator's private key belongs; choose another --out.")
    if previous is not None and out.resolve() == previous.resolve():
        raise ConsiliumError(f"{out}: is the roster before, which is still needed; choose another --out.")
    if exists(out.parent / _SITE_KEY):
        raise ConsiliumError(f"{out}: is inside a site's folder of keys; choose another --out.")
    check_target(out, SignedRoster)


def _check_one_each(files: Sequence[Path], cards: Sequence[roster.EnrolCard]) -> None:
    first: dict[str, Path] = {}
    for path, card in zip(files, cards, strict=True):
        site = card.card.site
        if site in first:
            raise ConsiliumError(f"{first[site]} and {path} are both cards of {site!a}; each site sends one card.")
        first[site] = path
