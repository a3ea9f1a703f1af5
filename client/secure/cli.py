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


def init(
    site: SITE,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write the card (NAME.card.json).")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Make a key that is to replace the present one.")] = False,
) -> None:
    """Make this site's keys, a request for the coordinator, and a policy to complete; what exists is kept."""
    import os

    from client.network.keys import make_network_keys, node_fingerprint
    from client.network.request import write_request
    from client.policy.policy import write_template
    from client.secure import keys
    from common.files import check_target, exists, write_atomic
    from common.secagg.json_view import to_json
    from common.secagg.roster import EnrolCard, card_fingerprint

    config = _site(site)
    target = out or Path(f"{config.name}.card.json")
    check_target(target, EnrolCard, keys=config.keys)
    if renew:
        keys.renew_keys(config, os.urandom)
    elif not exists(config.keys / keys.KEY):
        keys.make_keys(config, os.urandom)
    if keys.protect_keys(config, os.urandom):
        _print(f"The key in {config.keys} was not encrypted and is now; --renew replaces it, if others may have it.")
    make_network_keys(config)
    card = keys.enrol_card(config)
    write_atomic(target, to_json(card))
    request = write_request(config)
    if write_template(config.policy):
        _print(f"{config.policy}: this hospital's own rules; complete it before anything else (docs/policy.md).")
    _print(
        f"The private keys are in {config.keys} and {request.parent / 'network'} and never leave this machine.",
        f"{request}: for the coordinator. It holds public keys only, as {target} does, which a roster by hand needs.",
        f"Fingerprints of {config.name}, to be compared over the telephone:",
        f"  node key {node_fingerprint(config)}",
        f"  {card_fingerprint(config.name, card.card.verify_key)}",
    )


def sign(
    site: SITE,
    roster: ROSTER,
    approve: APPROVE = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it (NAME.signature.json).")] = None,
) -> None:
    """Look at a proposed roster, approve it and sign it: one roster for each number, ever."""
    from client.secure import keys
    from common.files import check_target, write_atomic
    from common.secagg.json_view import to_json
    from common.secagg.roster import RosterSignature

    config, proposal = _site(site), _read(roster)
    target = out or Path(f"{config.name}.signature.json")
    check_target(target, RosterSignature, keys=config.keys)
    with _naming(roster):
        keys.check_signable(config, proposal)
        _approve(config, proposal.roster, None, approve, refused="nothing was signed")
        signature = keys.sign_roster(config, proposal)
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
    from client.secure import keys
    from common.errors import ConsiliumError

    config, signed = _site(site), _read(roster)
    before = None if previous is None else _read(previous).roster
    accepted = keys.load_roster(config)
    if before is not None and accepted is not None:
        raise ConsiliumError(f"{config.name} has a roster; --previous is for a site that joins a federation.")
    if before is None and accepted is None and signed.roster.number > 1:
        raise ConsiliumError(
            f"{config.name} has accepted no roster yet: to join with number {signed.roster.number}, add --previous and "
            "the roster before it, which the coordinator has."
        )
    with _naming(roster):
        if accepted is None or accepted.roster != signed.roster:
            keys.check_acceptable(config, signed, previous=before)
            if not keys.is_approved(config, signed.roster):
                _approve(config, signed.roster, before, approve, refused="not accepted")
        keys.accept_roster(config, signed, previous=before)
    _print(f"{config.name} has accepted roster {signed.roster.number} of {signed.roster.federation}.")


def show(site: SITE) -> None:
    """Show the roster that this site has accepted."""
    from client.secure import keys
    from common.errors import ConsiliumError
    from common.secagg.roster import sheet

    config = _site(site)
    accepted = keys.load_roster(config)
    if accepted is None:
        raise ConsiliumError(f"{config.keys}: no roster has been accepted yet; `consilium site accept` does it.")
    _print(*sheet(accepted.roster, accepted.roster), f"Signed by {', '.join(accepted.signers)}.")


def _approve(
    config: "SiteConfig", roster: "Roster", previous: "Roster | None", given: str | None, *, refused: str
) -> None:
    """Show everything, then let the operator approve by its digits. Raises ConsiliumError if they are others.

    refused: what then has not happened, for the message.
    """
    from client.secure import keys
    from common.errors import ConsiliumError
    from common.secagg.roster import roster_fingerprint, sheet

    accepted = keys.load_roster(config)
    _print(*sheet(roster, previous if accepted is None else accepted.roster))
    _print("Compare the fingerprints with the other hospitals over the telephone before you approve.")
    right = roster_fingerprint(roster).replace(" ", "")
    if given is None:
        try:
            given = typer.prompt("To approve, type the roster's fingerprint, all of its digits")
        except typer.Abort:
            raise ConsiliumError(f"Not approved, {refused}; where nobody can type, use --approve.") from None
    typed = "".join(str(given).split())
    if typed != right:  # a part would not do: whoever proposes a roster can try keys until a few digits fit
        raise ConsiliumError(
            f"Not approved, {refused}: {given!r} is not the roster's fingerprint, which has {len(right)} digits."
        )
    keys.approve_roster(config, roster)


def _site(path: Path) -> "SiteConfig":
    from client.config import load_home

    return load_home(path, why="cannot be enrolled")


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
