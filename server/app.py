"""The coordinator's Flower ServerApp. Its run config names the plan, the folder for the run and how many sites to wait for."""

import sys
from pathlib import Path

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from rich.console import Console

from common.errors import ConsiliumError
from common.files import read_plan
from server.journal import Journal
from server.run import run
from server.terminal import Progress, result_table

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run config: `plan` (file), `out` (folder), `sites-expected`, `wait-s`, `resume`."""
    torch.set_num_threads(1)
    config = context.run_config
    console = Console()
    try:
        plan = read_plan(Path(str(config["plan"])))
        progress = Progress(console)
        journal = Journal(Path(str(config["out"])), plan, resume=bool(config["resume"]), listeners=(progress,))
        wanted = max(int(config["sites-expected"]), plan.aggregation.min_sites)
        result = run(plan, grid, journal, wanted_sites=wanted, wait_s=float(config["wait-s"]))
    except ConsiliumError as error:
        console.print(f"[red]{error}[/red]")
        sys.exit(2)
    console.print(result_table(result))
