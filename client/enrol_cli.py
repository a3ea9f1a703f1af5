"""`consilium site init|sign|accept|roster`: how a hospital is enrolled and decides with whom it makes sums."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from client.config import SiteConfig
    from common.secagg.messages import Roster, SignedRoster

SITE = Annotated[Path, typer.Argument(help="The site.toml, or its folder.")]
ROSTER = Annotated[Path, typer.Argument(help="The roster, a JSON file from the coordinator.")]
APPROVE = Annotated[
    str | None,
    typer.Option("--approve", metavar="DIGITS", help="All digits of the roster's fingerprint, instead of being asked."),
]
GROUP, TYPED_GROUPS = 5, 2


def init(
    site: SITE,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write the card (NAME.card.json).")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Make a key that is to replace the present one.")] = False,
) -> None:
    """Make this site's key and write its card for the coordinator; a key that exists is kept."""
    import os

    from client import keys
    from common.files import write_atomic
    from common.secagg.json_view import to_json
    from common.secagg.roster import card_fingerprint

    config = _site(site)
    if renew:
        keys.renew_keys(config, os.urandom)
    elif not (config.keys / keys.KEY).exists():
        keys.make_keys(config, os.urandom)
    card, target = keys.enrol_card(config), out or Path(f"{config.name}.card.json")
    write_atomic(target, to_json(card))
    _print(
        f"The private key is in {config.keys} and never leaves this machine.",
        f"{target}: for the coordinator. It holds the public key only.",
        f"Fingerprint of {config.name}, to be compared over the telephone:",
        f"  {card_fingerprint(config.name, card.card.verify_key)}",
    )


def sign(
    site: SITE,
    roster: ROSTER,
    approve: APPROVE = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it (NAME.signature.json).")] = None,
) -> None:
    """Look at a proposed roster, approve it and sign it: one roster for each number, ever."""
    from client import keys
    from common.files import write_atomic
    from common.secagg.json_view import to_json

    config, proposal = _site(site), _read(roster)
    with _naming(roster):
        keys.check_proposal(config, proposal)
        _approve(config, proposal.roster, None, approve)
        signature = keys.sign_roster(config, proposal)
    target = out or Path(f"{config.name}.signature.json")
    write_atomic(target, to_json(signature))
    _print(f"{target}: for the coordinator.")


def accept(
    site: SITE,
    roster: ROSTER,
    approve: APPROVE = None,
    previous: Annotated[
        Path | None, typer.Option("--previous", help="The roster before, where this site joins a federation.")
    ] = None,
) -> None:
    """Check a signed roster by every rule and keep it: from then on this site takes part in sums under it."""
    from client import keys
    from common.errors import ConsiliumError

    config, signed = _site(site), _read(roster)
    before = None if previous is None else _read(previous).roster
    if before is not None and keys.load_roster(config) is not None:
        raise ConsiliumError(f"{config.name} has a roster; --previous is for a site that joins a federation.")
    with _naming(roster):
        accepted = keys.load_roster(config)
        if accepted is None or accepted.roster != signed.roster:
            keys.check_proposal(config, signed, previous=before)
            if not keys.is_approved(config, signed.roster):
                _approve(config, signed.roster, before, approve)
        keys.accept_roster(config, signed, previous=before)
    _print(f"{config.name} has accepted roster {signed.roster.number} of {signed.roster.federation}.")


def show(site: SITE) -> None:
    """Show the roster that this site has accepted."""
    from client import keys
    from common.errors import ConsiliumError
    from common.secagg.roster import sheet

    config = _site(site)
    accepted = keys.load_roster(config)
    if accepted is None:
        raise ConsiliumError(f"{config.keys}: no roster has been accepted yet; `consilium site accept` does it.")
    _print(*sheet(accepted.roster, accepted.roster), f"Signed by {', '.join(accepted.signers)}.")


def _approve(config: "SiteConfig", roster: "Roster", previous: "Roster | None", given: str | None) -> None:
    """Show everything, then let the operator approve by its digits. Raises ConsiliumError if they are others."""
    from client import keys
    from common.errors import ConsiliumError
    from common.secagg.roster import roster_fingerprint, sheet

    accepted = keys.load_roster(config)
    _print(*sheet(roster, previous if accepted is None else accepted.roster))
    _print("Compare the fingerprints with the other hospitals over the telephone before you approve.")
    right = roster_fingerprint(roster).replace(" ", "")
    least = len(right)
    if given is None:
        least = GROUP * TYPED_GROUPS
        try:
            given = typer.prompt("To approve, type at least the first two groups of the roster's fingerprint")
        except typer.Abort:
            raise ConsiliumError("Not approved, nothing was signed; where nobody can type, use --approve.") from None
    typed = "".join(str(given).split())
    if len(typed) < least or not right.startswith(typed):
        raise ConsiliumError(
            f"Not approved: {given!r} is not the roster's fingerprint; it takes {least} digits or more from its start."
        )
    keys.approve_roster(config, roster)


def _site(path: Path) -> "SiteConfig":
    from client.config import load_site
    from common.errors import ConsiliumError

    config = load_site(path)
    if config.bare:
        raise ConsiliumError(f"{path}: a bare table cannot be enrolled; write a site.toml beside it (docs/data.md).")
    return config


def _read(path: Path) -> "SignedRoster":
    from common.files import read_bytes
    from common.secagg.json_view import from_json
    from common.secagg.messages import SignedRoster

    return from_json(SignedRoster, read_bytes(path), source=str(path))


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A refusal of what stands in `path` names it."""
    from common.errors import Refusal

    try:
        yield
    except Refusal as refusal:
        raise Refusal(refusal.code, f"{path}: {refusal} [{refusal.code}]") from None


def _print(*lines: str) -> None:
    console = Console(soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, highlight=False)
