"""A site's signing key and its memory of rosters, all in the folder `site.keys` of site.toml.

signing.key     the private key, PEM encrypted by at_rest.py, readable by its owner only; it never leaves this machine
next.key        the same for the key that shall replace it, until a roster with that key is accepted
approved.json   which roster the operator approved, and which one was signed: one for each number, also after a restart
roster.json     the accepted roster with its signatures
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from client.at_rest.key import make_vault_key
from client.at_rest.key_file import protect_key, read_key, write_key
from client.config import SiteConfig
from client.policy.policy import load_policy
from common.errors import ConsiliumError
from common.files import exists, own_folder, read_bytes, replace_file, write_atomic
from common.secagg import checks, roster
from common.secagg.json_view import from_json, to_json
from common.secagg.messages import Roster, SignedRoster
from common.secagg.primitives import Random, SigningKey

KEY, NEXT, APPROVED, ROSTER = "signing.key", "next.key", "approved.json", "roster.json"


@dataclass(frozen=True)
class Approval:
    """approved: hash of the roster that the operator approved. signed: hash of the one signed with `signed_number`."""

    approved: bytes = b""
    signed_number: int = 0
    signed: bytes = b""


def make_keys(config: SiteConfig, random: Random) -> SigningKey:
    """A new signing key in a new folder. Raises ConsiliumError where there is one already.

    random: the operating system's, os.urandom, at a deployed site.
    """
    folder = config.keys
    if exists(folder / KEY):
        raise ConsiliumError(f"{folder / KEY}: exists already; a key is never overwritten.")
    if not is_unused(config):
        raise ConsiliumError(
            f"{folder}: belongs to a key that is not there; put {KEY} back, or move the folder aside for a new key."
        )
    make_vault_key(config, random)
    own_folder(folder)
    _keep(config, Approval())
    key = SigningKey.new(random)
    write_key(config, folder / KEY, key)
    return key


def protect_keys(config: SiteConfig, random: Random) -> bool:
    """Encrypt what a version before this one left in the open; whether there was anything.

    The old bytes may stay on the disk, where `renew_keys` makes them worthless.
    """
    make_vault_key(config, random)
    protected = [protect_key(config, path) for name in (KEY, NEXT) if exists(path := config.keys / name)]
    return any(protected)


def is_unused(config: SiteConfig) -> bool:
    """Whether the folder holds nothing of an earlier key, so that a first one may be made."""
    folder = config.keys
    used = exists(folder / APPROVED) and _approval(config) != Approval()
    return not used and not any(exists(folder / name) for name in (KEY, NEXT, ROSTER))


def renew_keys(config: SiteConfig, random: Random) -> SigningKey:
    """A key to replace the present one, which stays until a roster with the new key is accepted."""
    load_signing_key(config)
    if load_roster(config) is None:
        raise ConsiliumError(f"{config.keys}: no roster holds the present key yet, so there is nothing to renew.")
    key = SigningKey.new(random)
    write_key(config, config.keys / NEXT, key)
    return key


def load_signing_key(config: SiteConfig) -> SigningKey:
    """This site's key. Raises ConsiliumError if it is absent, damaged, or if others may read its file."""
    if not exists(config.keys / KEY):
        raise ConsiliumError(f"{config.keys / KEY}: no such file; `consilium site init` makes the key.")
    return read_key(config, config.keys / KEY)


def enrol_card(config: SiteConfig) -> roster.EnrolCard:
    """What this site sends to be enrolled, or to have its key replaced."""
    old, new = load_signing_key(config), _next(config)
    return roster.enrol(config.name, old) if new is None else roster.enrol(config.name, new, old=old)


def load_roster(config: SiteConfig) -> SignedRoster | None:
    """The roster that this site has accepted; None before the first."""
    path = config.keys / ROSTER
    return from_json(SignedRoster, read_bytes(path), source=str(path)) if exists(path) else None


def approve_roster(config: SiteConfig, approved: Roster) -> None:
    """Keep that the operator of this site approved exactly this roster."""
    with _alone(config):
        _keep(config, replace(_approval(config), approved=roster.roster_hash(approved)))


def is_approved(config: SiteConfig, wanted: Roster) -> bool:
    """Whether the operator's last approval was of exactly this roster."""
    return _approval(config).approved == roster.roster_hash(wanted)


def check_proposal(config: SiteConfig, proposal: SignedRoster, *, previous: Roster | None = None) -> None:
    """Every rule but approval and signatures, which may still be outstanding. Raises Refusal.

    previous: the roster before, for a site that joins and has none.
    """
    before = _previous(config, previous)
    if before is None and proposal.roster.number > 1:
        raise ConsiliumError(
            f"{config.name} has accepted no roster yet and does not sign number {proposal.roster.number}; "
            "when it is signed, `consilium site accept --previous` takes the roster before it."
        )
    roster.check_proposal(proposal, previous=before, **_own_rules(config, proposal.roster))


def check_signable(config: SiteConfig, proposal: SignedRoster) -> None:
    """Everything but approval that `sign_roster` asks for: what is approved is then signed. Raises Refusal."""
    check_proposal(config, proposal)
    _check_rival(_approval(config), proposal.roster)


def check_acceptable(config: SiteConfig, signed: SignedRoster, *, previous: Roster | None = None) -> None:
    """Everything but approval that `accept_roster` asks for. Raises Refusal."""
    _approval(config)  # read before anything is approved: a damaged one must not be lost
    wanted = signed.roster
    before, hashed = _previous(config, previous), roster.roster_hash(wanted)
    roster.check_roster(signed, previous=before, approved=hashed, **_own_rules(config, wanted))


def sign_roster(config: SiteConfig, proposal: SignedRoster) -> roster.RosterSignature:
    """This site's signature of a roster that its operator approved; one roster for each number, ever.

    Raises Refusal, also `roster_rival` where another roster with this number was signed before.
    """
    wanted = proposal.roster
    key, hashed = load_signing_key(config), roster.roster_hash(wanted)
    with _alone(config):
        check_proposal(config, proposal)
        memory = _approval(config)
        roster.check_approved(wanted, memory.approved)
        _check_rival(memory, wanted)
        _keep(config, replace(memory, signed_number=wanted.number, signed=hashed))
    return roster.sign(wanted, site=config.name, key=key)


def accept_roster(config: SiteConfig, signed: SignedRoster, *, previous: Roster | None = None) -> None:
    """Keep `signed` as this site's roster, after every check; the same one again changes nothing. Raises Refusal.

    previous: the roster before, for a site that joins and has none; its hash stands in what the operator approved.
    """
    with _alone(config):
        accepted, new_key = load_roster(config), _next(config)
        if accepted is None or roster.roster_hash(accepted.roster) != roster.roster_hash(signed.roster):
            roster.check_roster(
                signed,
                previous=_previous(config, previous),
                approved=_approval(config).approved,
                **_own_rules(config, signed.roster),
            )
            write_atomic(config.keys / ROSTER, to_json(signed), private=True)
        if new_key is not None and new_key.verify_key in signed.roster.keys:
            replace_file(config.keys / NEXT, config.keys / KEY)  # after a crash before this, accepting again does it


def _previous(config: SiteConfig, given: Roster | None) -> Roster | None:
    accepted = load_roster(config)
    if accepted is not None:
        return accepted.roster
    if given is not None:
        roster.check_form(given)  # its names reach the operator's screen
    return given


def _check_rival(memory: Approval, wanted: Roster) -> None:
    first = memory.signed_number < wanted.number or memory.signed == roster.roster_hash(wanted)
    checks.require(first, "roster_rival", f"this site signed another roster {wanted.number} before.")


def _own_rules(config: SiteConfig, wanted: Roster) -> dict[str, Any]:
    rules = load_policy(config.policy).secure
    return {
        "site": config.name,
        "verify_key": _own_key(config, wanted).verify_key,
        "least_cohort": rules.min_cohort,
        "least_colluding": rules.colluding_sites,
    }


def _own_key(config: SiteConfig, wanted: Roster) -> SigningKey:
    new = _next(config)
    return new if new is not None and new.verify_key in wanted.keys else load_signing_key(config)


def _next(config: SiteConfig) -> SigningKey | None:
    return read_key(config, config.keys / NEXT) if exists(config.keys / NEXT) else None


def _approval(config: SiteConfig) -> Approval:
    path = config.keys / APPROVED
    if not exists(path):
        # Without it this site could be made to sign a second roster with one number.
        raise ConsiliumError(
            f"{path}: missing, so nobody knows what this site has signed; "
            "put it back, or move the folder aside, make new keys and be enrolled again."
        )
    return from_json(Approval, read_bytes(path), source=str(path))


def _keep(config: SiteConfig, approval: Approval) -> None:
    write_atomic(config.keys / APPROVED, to_json(approval), private=True)


@contextlib.contextmanager
def _alone(config: SiteConfig) -> Iterator[None]:
    """Two commands at once must not both find that nothing has been signed. The lock ends with the process."""
    try:
        descriptor = os.open(config.keys, os.O_RDONLY)
    except OSError:
        raise ConsiliumError(f"{config.keys}: no such folder; `consilium site init` makes it.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
