"""The coordinator's Flower ServerApp: run config in, a run's folder out."""

import logging
import sys
from pathlib import Path

import torch
from flwr.app import Context, UserConfig
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
    """Run config: `plan` (file), `out` (folder), `sites-expected`, `wait-s`, `resume`; `sites` under simulation only.

    Raises ConsiliumError, with which Flower marks the run as failed and keeps the sentence as its reason.
    """
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.WARNING)  # its own line per aggregation would bury the progress
    config = context.run_config
    console = Console()
    try:
        plan = read_plan(Path(str(config["plan"])))
        with Progress(console) as progress:
            journal = Journal(Path(str(config["out"])), plan, resume=bool(config["resume"]), listeners=(progress,))
            wanted = max(_expected(config), plan.aggregation.min_sites)
            result = run(plan, grid, journal, wanted_sites=wanted, wait_s=float(config["wait-s"]))
    except ConsiliumError:
        # Flower logs what is raised here; the sentence is what a person needs, not this process's stack.
        sys.tracebacklimit = 0
        raise
    console.print(result_table(result))


def _expected(config: UserConfig) -> int:
    """How many sites to wait for: as told, else every prepared site of a simulation, else 0."""
    told = int(config["sites-expected"])
    sites = str(config.get("sites", ""))
    if told or not sites:
        return told
    return len(list(Path(sites).glob("*/site.toml")))
