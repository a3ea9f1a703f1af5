"""`consilium adapt`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def adapt(
    model: Annotated[Path, typer.Argument(help="A model.safetensors, or the encrypted one in a site's folder.")],
    site: Annotated[Path, typer.Argument(help="Patients with the new label: a site.toml, its folder, or a table.")],
    plan: Annotated[Path, typer.Option("--plan", help="TOML file with the new task, as [[tasks]] in a plan.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the model; reports get the endings .json, .html.")],
    task: Annotated[str | None, typer.Option("--task", help="Which task of the file, where it has several.")] = None,
    unfreeze: Annotated[
        bool, typer.Option("--unfreeze", help="Let the encoder move too; the file then predicts the new task only.")
    ] = False,
    labels: Annotated[
        str, typer.Option("--labels", metavar="10,50,200", help="Numbers of labels to compare at; '' for none.")
    ] = "10,50,200",
    draws: Annotated[
        int, typer.Option("--draws", min=2, max=1000, help="How often they are drawn; a verdict takes 5.")
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of draws, folds and first weights.")] = 0,
) -> None:
    """Add a task to a trained model from a hospital's own labels, and say what the model was worth for it."""
    from client.adapt.command import adapt_files
    from client.adapt.report import result_table
    from client.warn import warn

    console = Console(highlight=False)
    with console.status("reading") as status:
        report = adapt_files(
            model,
            site,
            plan,
            out,
            task=task,
            unfreeze=unfreeze,
            sizes=labels,
            draws=draws,
            seed=seed,
            tell=status.update,
            warn=warn,
        )
    for part in result_table(report):
        console.print(part)
    console.print(f"Model   {out}", soft_wrap=True, markup=False)
    console.print(f"Report  {out.with_suffix('.html')}", soft_wrap=True, markup=False)
