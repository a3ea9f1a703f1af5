"""`consilium attack …`: every attack that the protocol must withstand, played for real. Heavy imports wait."""

from typing import Annotated

import typer
from rich.console import Console

attack_app = typer.Typer(help="Attack the protocol, to see that it holds.", no_args_is_help=True)


@attack_app.callback()
def _group() -> None:
    """Keeps `coordinator` a command of its own while it is the only one."""


@attack_app.command("coordinator")
def coordinator(
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """A coordinator that lies in every known way; exit status 1 if one attack succeeds here (docs/attacks.md)."""
    from experiments.attacks import flower_builtin, limits, registry, table

    outcomes = [registry.run(attack) for attack in registry.attacks()]
    flower = [attack() for attack in flower_builtin.ATTACKS]
    beyond = limits.played()
    if as_json:
        typer.echo(table.as_json(outcomes, flower, beyond))
    else:
        console = Console(highlight=False)
        for part in table.pages(outcomes, flower, beyond):
            console.print(part)
    if not all(outcome.refused for outcome in outcomes):
        raise typer.Exit(1)
