"""`consilium server init|enrol|collect|renew|doctor`: the coordinator's folder, from keys to a roster that is signed.

Every command says what it made, what of it is secret, and what comes next.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server import roster_cli
from server.network.say import say, say_next

if TYPE_CHECKING:
    from datetime import datetime

HOME = Annotated[Path, typer.Argument(metavar="HOME", help="The coordinator's folder.")]


def init(
    home: Annotated[Path, typer.Argument(metavar="HOME", help="Folder to make; it must not exist or be empty.")],
    federation: Annotated[str, typer.Option("--federation", help="Name of the federation, as rosters will say it.")],
    address: Annotated[str, typer.Option("--address", metavar="HOST:PORT", help="What the hospitals will dial.")],
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="IP:PORT", help="Where the gateway listens here, if not on every interface."),
    ] = None,
    link_port: Annotated[
        int | None, typer.Option("--link-port", help="Port of the SuperLink, on 127.0.0.1 only.  [default: 9092]")
    ] = None,
) -> None:
    """Make the coordinator's folder: its keys, the authority that signs certificates, and coordinator.toml."""
    from common.files import read_bytes
    from common.network.certificates import fingerprint
    from server.network.make import make_home, settings_for

    settings = settings_for(federation, address, listen=listen, link_port=link_port)
    named = {"federation": federation, "address": address, "listen": listen, "link_port": link_port}
    given = [name for name, value in named.items() if value is not None]
    made, new = make_home(home, settings, given=given, now=_now())
    rules = made.settings
    if not new:
        say(f"{made.folder}: is there already and stays as it is.")
    say(
        f"{made.folder}: the coordinator's folder of the federation {rules.federation}. Only this user may enter it.",
        f"  coordinator.toml   hospitals dial {rules.address}, the gateway listens on {rules.listen}, the SuperLink on "
        f"127.0.0.1:{rules.link_port}",
        "  keys/              SECRET, never sent to anybody. Keep one copy under lock: whoever has authority.key can",
        "                     pose as this coordinator, and without coordinator.key no sum can be started.",
        "  certificates/      public",
        "Fingerprint of the authority, which every hospital compares over the telephone when it joins:",
        f"  {fingerprint(read_bytes(made.certificate('authority')))}",
    )
    say_next(
        "each hospital runs `consilium site init` and sends you its NAME.request.json. With at least three of them:",
        f"  consilium server enrol {home} *.request.json --plan federation.toml",
    )


def enrol(
    home: HOME,
    requests: Annotated[list[Path] | None, typer.Argument(help="NAME.request.json of hospitals that join.")] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="The federation.toml that will run; later: only where it changes.")
    ] = None,
    colluding: Annotated[
        int | None,
        typer.Option("--colluding-sites", min=0, help="f: hospitals that may side with the coordinator; as the plan."),
    ] = None,
    min_sites: Annotated[
        int | None, typer.Option("--min-sites", min=3, help="m: fewest hospitals in a sum; as the plan.")
    ] = None,
    leaves: Annotated[
        list[str] | None, typer.Option("--leaves", metavar="NAME", help="A hospital that ends its part in peace.")
    ] = None,
    revoke: Annotated[
        list[str] | None,
        typer.Option("--revoke", metavar="NAME", help="A hospital whose keys must never be accepted again."),
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option("--replace", metavar="NAME", help="A hospital that confirmed its new keys over the telephone."),
    ] = None,
    new_proposal: Annotated[
        bool, typer.Option("--new-proposal", help="Withdraw a proposed roster that no hospital has signed yet.")
    ] = False,
) -> None:
    """Enrol hospitals: certificates, a proposed roster, and an invitation for each. Also: who leaves, another plan."""
    from server.network.enrol import Asked, enrol
    from server.network.home import load_home
    from server.network.told import tell

    here = load_home(home)
    asked = Asked(
        requests=requests or (),
        plan=plan,
        colluding=colluding,
        min_sites=min_sites,
        leaves=leaves or (),
        revoke=revoke or (),
        replace=replace or (),
        new_proposal=new_proposal,
    )
    tell(here, enrol(here, asked, now=_now()), home)


def collect(
    proposal: Annotated[
        Path, typer.Argument(metavar="HOME|ROSTER", help="The coordinator's folder; or a proposal, with --out.")
    ],
    signatures: Annotated[list[Path], typer.Argument(help="NAME.signature.json of the hospitals.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the signed roster; not with a folder.")
    ] = None,
    previous: roster_cli.PREVIOUS = None,
) -> None:
    """Put the sites' signatures together and say who has not signed yet; too few of them are no error (status 0)."""
    from common.errors import ConsiliumError
    from server.network.collect import collect
    from server.network.home import load_home

    if not proposal.is_dir():
        if out is None:
            raise ConsiliumError(f"{proposal}: is no folder of a coordinator, so --out has to say where to write.")
        roster_cli.collect(proposal, signatures, out, previous)
        return
    if out is not None or previous is not None:
        raise ConsiliumError(
            f"{proposal}: is a coordinator's folder, which knows both: leave --out and --previous out."
        )
    here = load_home(proposal)
    done = collect(here, signatures)
    number = done.signed.roster.number
    waiting = f"{', '.join(done.missing)} {'has' if len(done.missing) == 1 else 'have'} not signed"
    if not done.enough:
        say(f"Roster {number} is kept with {len(done.signed.signers)} signature(s), which is not enough: {waiting}.")
        say_next(f"when they have: consilium server collect {proposal} NAME.signature.json")
        return
    say(
        f"Roster {number} is signed by {', '.join(done.signed.signers)}, and that is enough.",
        *([f"{waiting}, which is no obstacle."] if done.missing else []),
        f"  {here.roster}   no secret in it",
    )
    joins = f" ({', '.join(done.joins)}, new here, with --previous previous.json)" if done.joins else ""
    say_next(
        f"send {here.roster} to every hospital, which runs `consilium site accept SITE roster.json`{joins}. Then:",
        f"  consilium server doctor {proposal}",
        f"  consilium server serve {proposal}",
    )


def renew(
    home: HOME,
    authority: Annotated[
        bool,
        typer.Option("--authority", help="A new authority too; no hospital can connect before it has joined again."),
    ] = False,
) -> None:
    """New certificates for gateway, SuperLink and every hospital, and new invitations that hold them."""
    from common.files import read_bytes
    from common.network.certificates import fingerprint
    from server.network.home import load_home
    from server.network.renew import renew
    from server.network.told import tell_invitations

    here = load_home(home)
    done = renew(here, authority=authority, now=_now())
    say("Gateway and SuperLink have new keys and certificates.")
    if authority:
        say(
            "The authority is a new one: until a hospital has joined again, it cannot connect. Its fingerprint, to be",
            "compared over the telephone:",
            f"  {fingerprint(read_bytes(here.certificate('authority')))}",
        )
    if done.reloaded:
        say("The gateway that is running uses its own from now on.")
    if done.waiting:
        say(f"{', '.join(done.waiting)}: no invitation, as there is no roster with them yet.")
    tell_invitations(here, done.invited)
    again = "must join again before it can connect" if authority else "joins again before its old one ends"
    say_next(
        f"restart `consilium server serve {home}` if it is running, for the SuperLink reads its certificate once.",
        *([f"Send each hospital its invitation: it {again} (`consilium site join`)."] if done.invited else []),
    )


def doctor(home: HOME) -> None:
    """Look for whatever keeps the federation from running, soon or now. Status 1 where something does, now."""
    from common.errors import ConsiliumError
    from server.network import doctor, doctor_machine
    from server.network.home import load_home

    now = _now()
    try:
        here = load_home(home)
        found = list(doctor.examine(here, doctor.CHECKS + doctor_machine.CHECKS, now=now))
    except ConsiliumError as error:
        found = [doctor.Finding("error", str(error))]
    for finding in found:
        say(f"{finding.level:8} {finding.text}")
    errors, warnings = (sum(f.level == level for f in found) for level in ("error", "warning"))
    say(f"{errors} error(s), {warnings} warning(s).")
    if errors:
        raise typer.Exit(1)


def _now() -> "datetime":
    from datetime import UTC, datetime

    return datetime.now(UTC)
