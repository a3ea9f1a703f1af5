"""`consilium baselines` and `compare`: what a run has to be held against. Heavy imports wait until they are needed."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from experiments.run_cli import Hours, Seed, Settings


def baselines(
    federation: Annotated[Path, typer.Argument(help="The plan, a federation.toml.")],
    sites: Annotated[Path, typer.Option("--sites", help="Folder with one table or one site.toml per site.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for one result.json per baseline; new or empty.")],
    seed: Seed = None,
    settings: Settings = None,
    hours: Hours = None,
    only: Annotated[str | None, typer.Option("--only", metavar="a,b", help="Fit these baselines only.")] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Put them beside this run, in its result and report.")
    ] = None,
) -> None:
    """Fit other models on the very same rows and splits as the federation of this plan (docs/baselines.md)."""
    from client.config import find_sites, with_hours
    from common.files import read_plan
    from experiments.baselines import run_baselines
    from experiments.baselines.beside import check_run, put_beside
    from experiments.baselines.show import FitProgress, summary_tables

    seeds = () if seed is None else (f"seeds.split={seed}", f"seeds.training={seed}")
    plan = read_plan(federation, overrides=(*seeds, *(settings or ())))
    if run is not None:
        check_run(run, plan)
    console = Console(highlight=False)
    with FitProgress(console) as progress:
        configs = with_hours(find_sites(sites), hours or ())
        summary = run_baselines(plan, configs, out, only=_names(only), listeners=(progress,))
    for table in summary_tables(summary, width=console.width):
        console.print(table)
    console.print(f"Results: {out}/BASELINE/result.json   Table: {out / 'baselines.json'}", markup=False)
    if run is not None:
        put_beside(run, out)
        console.print(f"Report: {run / 'report.html'}", markup=False, soft_wrap=True)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders with a result.json, or folders of such folders.")],
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="a,b", help="One label per RUN; RUNs of one label are its seeds.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures here.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE.html", help="Also write one self-contained page here.")
    ] = None,
) -> None:
    """Paired differences against the first run, over seeds, with intervals (docs/baselines.md)."""
    import json

    from common.files import write_atomic
    from experiments.compare import comparison, gather, page
    from experiments.compare.show import difference_tables

    found = comparison(gather(runs, labels=_names(labels)))
    if json_file is not None:
        write_atomic(json_file, json.dumps(found, indent=1, allow_nan=False).encode())
    if figure is not None:
        write_atomic(figure, page(found).encode())
    console = Console(highlight=False)
    for table in difference_tables(found):
        console.print(table)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]
