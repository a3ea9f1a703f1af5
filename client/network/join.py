"""An invitation is checked against this hospital's own keys and put where the other commands look for it.

Nothing in it is obeyed: the plan waits for `approve`, the roster for `sign` and `accept`, by a person.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from client.config import SiteConfig
from client.network.home import Connection, Home
from client.network.keys import tls_key
from client.secure.keys import enrol_card
from common.errors import ConsiliumError
from common.files import exists, read_bytes, write_atomic
from common.network.certificates import check_certificate, fingerprint
from common.network.documents import Invitation
from common.plan import Plan, plan_from_canonical
from common.secagg.json_view import from_json, to_json
from common.secagg.messages import SignedRoster


@dataclass(frozen=True)
class Checked:
    """An invitation whose every part is for this hospital. files: path -> contents, what `keep` writes."""

    invitation: Invitation
    plan: Plan
    proposal: SignedRoster
    authority: str
    files: dict[Path, bytes]

    @property
    def changed(self) -> list[Path]:
        """The files that are not yet as the invitation has them."""
        return [path for path, data in self.files.items() if not exists(path) or read_bytes(path) != data]

    def keep(self) -> list[Path]:
        """Write what has changed, connection.json last; gives what was written. Raises ConsiliumError."""
        changed = self.changed
        for path in changed:
            write_atomic(path, self.files[path])
        return changed


def check_invitation(config: SiteConfig, path: Path, *, now: datetime) -> Checked:
    """The invitation in `path`. Raises ConsiliumError, and nothing is written, where it is not for this hospital."""
    invitation = Invitation.from_bytes(read_bytes(path), source=str(path))
    if invitation.site != config.name:
        raise ConsiliumError(
            f"{path}: is for {invitation.site!r}, but this is {config.name!r}; ask the coordinator for your own."
        )
    authority, certificate = invitation.authority.encode(), invitation.certificate.encode()
    check_certificate(
        certificate,
        authority_pem=authority,
        key_pem=tls_key(config),
        site=config.name,
        now=now,
        source=f"{path}, 'certificate'",
    )
    plan = _plan(invitation.plan, source=f"{path}, 'plan'")
    proposal = _roster(invitation.roster, source=f"{path}, 'roster'")
    _check_own_key(config, proposal, source=f"{path}, 'roster'")
    home = Home.of(config)
    files = {home.plan: plan.canonical, home.proposal: to_json(proposal)}
    if invitation.previous is not None:
        files[home.previous] = to_json(_roster(invitation.previous, source=f"{path}, 'previous'"))
    connection = Connection(federation=invitation.federation, site=invitation.site, address=invitation.address)
    files |= {home.authority: authority, home.certificate: certificate, home.connection: connection.to_bytes()}
    return Checked(invitation, plan, proposal, fingerprint(authority), files)


def check_same_authority(home: Home, checked: Checked, ask: Callable[[str], str]) -> None:
    """Where this hospital trusts another authority already, a person has to type how the new one begins.

    ask: shows a question and gives what was typed. Raises ConsiliumError unless it is right.
    """
    if not exists(home.authority) or read_bytes(home.authority) == checked.invitation.authority.encode():
        return
    before = fingerprint(read_bytes(home.authority), source=str(home.authority))
    typed = "".join(
        ask(
            f"This invitation is from ANOTHER authority than the one trusted so far ({before}). Compare the new one's "
            f"fingerprint with the coordinator over the telephone:\n  {checked.authority}\nTo trust it, type it"
        ).split()
    )
    if typed.lower() != checked.authority.replace(" ", ""):
        raise ConsiliumError(f"{home.authority}: kept, nothing was changed: {typed!r} is not the new fingerprint.")


def _plan(content: dict[str, Any], *, source: str) -> Plan:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return plan_from_canonical(canonical, source=source)


def _roster(content: dict[str, Any], *, source: str) -> SignedRoster:
    return from_json(SignedRoster, json.dumps(content).encode(), source=source)


def _check_own_key(config: SiteConfig, proposal: SignedRoster, *, source: str) -> None:
    roster, own = proposal.roster, enrol_card(config).card.verify_key
    if config.name not in roster.sites or len(roster.keys) != len(roster.sites):
        raise ConsiliumError(f"{source}: names {', '.join(roster.sites)}, but not this hospital, {config.name}.")
    if roster.keys[roster.sites.index(config.name)] != own:
        raise ConsiliumError(
            f"{source}: holds another signing key for {config.name} than this hospital's own; "
            "do not sign it, and tell the coordinator."
        )
