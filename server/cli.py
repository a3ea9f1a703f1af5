"""`consilium plan …` and `consilium server …`: all that a coordinator does, in the order in which it comes up."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from server import drive_cli, network_cli, roster_cli

plan_app = typer.Typer(help="Look at a plan.", no_args_is_help=True)
server_app = typer.Typer(help="Work of the coordinator.", no_args_is_help=True)
server_app.command("init")(network_cli.init)
server_app.command("enrol")(network_cli.enrol)
server_app.command("collect")(network_cli.collect)
server_app.command("doctor")(network_cli.doctor)
server_app.command("serve")(drive_cli.serve)
server_app.command("run")(drive_cli.run)
server_app.command("status")(drive_cli.status)
server_app.command("stop")(drive_cli.stop)
server_app.command("renew")(network_cli.renew)
server_app.command("roster")(roster_cli.propose)


@plan_app.command("start")
def start(
    file: Annotated[Path, typer.Argument(help="A federation.toml; a section [start] in it is not looked at.")],
    model: Annotated[Path, typer.Argument(help="The earlier model.safetensors.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="section.key=value")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="As for the run: heads of new tasks follow it.")
    ] = None,
) -> None:
    """Work out the section [start] with which this plan goes on from an earlier model."""
    from common.files import read_bytes, read_plan
    from common.model_file import ModelFile
    from common.start import starting_point

    seeds = () if seed is None else (f"seeds.split={seed}", f"seeds.training={seed}")
    plan = read_plan(file, overrides=(*seeds, *(settings or ())))
    begin = starting_point(plan, ModelFile.from_bytes(read_bytes(model), source=str(model)), source=str(model))
    print(f'[start]\nvector = "{begin.digest}"\nfreeze_encoder = true')
    # Comments: the output may be put into the plan as it is.
    print(f"# heads that go on: {', '.join(begin.kept) or 'none'}")
    print(f"# heads that begin anew: {', '.join(begin.new) or 'none'}")


@plan_app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="A federation.toml.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="section.key=value")] = None,
) -> None:
    """Say in plain words what will run, and what will leave each site."""
    from common.files import read_plan
    from common.plan.describe import describe

    console = Console(soft_wrap=True)
    for heading, lines in describe(read_plan(file, overrides=tuple(settings or ()))):
        console.print(f"[bold]{heading}[/bold]")
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False)
