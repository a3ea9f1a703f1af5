"""`consilium experiment …`: many federations described by one file. Heavy imports wait until they are needed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from experiments.sweep.sweep import Sweep

experiment_app = typer.Typer(help="Many federations, described by one file (docs/research.md).", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The experiment, an experiment.toml.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder in which `sites` is; the file's own without it.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for cells and tables; runs/NAME of the file.")]
Processes = Annotated[int | None, typer.Option("--processes", min=1, help="Cells at a time; one per core.")]


@experiment_app.command("run")
def run(file: File, data: Data = None, out: Out = None, processes: Processes = None) -> None:
    """Run all cells and write one table; killed at any time, `resume` goes on."""
    _work(file, data, out, processes, resume=False)


@experiment_app.command("resume")
def resume(file: File, data: Data = None, out: Out = None, processes: Processes = None) -> None:
    """Go on with an experiment; also after its file got further settings or seeds."""
    _work(file, data, out, processes, resume=True)


@experiment_app.command("report")
def report(file: File, data: Data = None, out: Out = None) -> None:
    """Write table.parquet and means.csv of a finished experiment, and show what came out."""
    _report(*_sweep(file, data, out))


def _sweep(file: Path, data: Path | None, out: Path | None) -> tuple["Sweep", Path, Path]:
    from experiments.sweep.cells import cells_of
    from experiments.sweep.sweep import Sweep

    data = file.parent if data is None else data
    _, cells = cells_of(file, data)
    return Sweep(Path("runs") / file.stem if out is None else out, tuple(cells), file), file, data


def _work(file: Path, data: Path | None, out: Path | None, processes: int | None, *, resume: bool) -> None:
    import os

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    sweep, _, data = _sweep(file, data, out)
    sweep.claim(resume=resume)
    missing = len(sweep.missing)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("cells", total=missing)
        at_once = min(processes or len(os.sched_getaffinity(0)), max(1, missing))
        sweep.run(at_once, lambda cell: progress.advance(bar))
    _report(sweep, file, data)


def _report(sweep: "Sweep", file: Path, data: Path) -> None:
    from rich.console import Console

    from common.files import write_atomic
    from experiments.sweep.cells import cells_of
    from experiments.sweep.show import summary
    from experiments.sweep.table import TABLE, means, write_table

    experiment, cells = cells_of(file, data)
    frame = write_table(sweep.folder, experiment, cells)
    split = cells[0].read_plan().split
    ratio = 0.0 if experiment.synthetic is not None else split.test / split.train
    found = means(frame, experiment.factors, judged_per_trained=ratio)
    write_atomic(sweep.folder / "means.csv", found.to_csv(index=False).encode())
    console = Console(highlight=False)
    console.print(summary(experiment, found))
    console.print(f"Table {sweep.folder / TABLE}   Means {sweep.folder / 'means.csv'}", soft_wrap=True, markup=False)
