"""`consilium server roster|collect`: the coordinator proposes who takes part, the hospitals decide."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

PREVIOUS = Annotated[Path | None, typer.Option("--previous", help="The roster before; not for the first.")]


def propose(
    cards: Annotated[list[Path], typer.Argument(help="NAME.card.json of every site; a site without a card leaves.")],
    federation: Annotated[str, typer.Option("--federation", help="Name of the federation.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the proposal.")],
    colluding: Annotated[
        int, typer.Option("--colluding-sites", min=0, help="f: sites that may side with the coordinator.")
    ] = 0,
    min_sites: Annotated[int, typer.Option("--min-sites", min=3, help="m: fewest sites in a sum.")] = 3,
    previous: PREVIOUS = None,
    key: Annotated[Path, typer.Option("--key", help="The coordinator's private key; made where absent.")] = Path(
        "coordinator.key"
    ),
) -> None:
    """Propose a roster of exactly these sites; every hospital looks at it with `consilium site sign`."""
    import os

    from common.secagg.roster import sheet
    from server.roster import write_proposal

    proposal, before = write_proposal(
        cards,
        federation=federation,
        colluding=colluding,
        min_sites=min_sites,
        previous=previous,
        key=key,
        out=out,
        random=os.urandom,
    )
    _print(*sheet(proposal.roster, before), f"{out}: for every site, to sign. {key} stays here.")


def collect(
    proposal: Annotated[Path, typer.Argument(metavar="ROSTER", help="The proposal, or what was collected so far.")],
    signatures: Annotated[list[Path], typer.Argument(help="NAME.signature.json of the sites.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the signed roster.")],
    previous: PREVIOUS = None,
) -> None:
    """Put the sites' signatures together and say who has not signed yet; too few of them are no error (status 0)."""
    from server.roster import collect_signatures

    signed, missing, enough = collect_signatures(proposal, signatures, previous=previous, out=out)
    waiting = f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} not signed"
    if not enough:
        _print(f"{out}: not enough yet. {waiting}.")
        return
    _print(
        f"{out}: signed by {', '.join(signed.signers)}; every site can accept it.",
        *([f"{waiting}."] if missing else []),
    )


def _print(*lines: str) -> None:
    console = Console(soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, highlight=False)
