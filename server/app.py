"""The coordinator's Flower ServerApp: run config in, a run's folder out."""

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, UserConfig
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from rich.console import Console

from common.errors import ConsiliumError, PlanError, SumAborted, TooFewSites
from common.files import read_plan, write_atomic
from common.plan import Plan
from server.journal import Journal
from server.roster import load_coordinator_key, read_roster
from server.run import run
from server.secure_state import CoordinatorKeys
from server.terminal import Progress, result_table

CRASH = "crash.log"

app = ServerApp()

# An answer is announced before its parts have arrived; Flower then waits a whole second before it looks again.
pull_objects.__kwdefaults__["initial_backoff"] = 0.02


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run config: `plan` (file), `out` (folder), `sites-expected`, `wait-s`, `resume`; `sites` under simulation only.

    A plan with secure sums needs `key`, the coordinator's, and `roster`; both are files.

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
            result = _run(plan, grid, journal, config)
    except ConsiliumError:
        # Flower logs what is raised here; the sentence is what a person needs, not this process's stack.
        sys.tracebacklimit = 0
        raise
    console.print(result_table(result))


def _run(plan: Plan, grid: Grid, journal: Journal, config: UserConfig) -> dict[str, Any]:
    """The result. Why a run stops is written into its journal as well, where `consilium server run` reads it."""
    rules = plan.aggregation
    wanted = max(_expected(config), rules.min_sites)
    begin_with = None if config.get("sites", "") else rules.least_sites
    wait_s = float(config["wait-s"])
    journal.event("waiting", wanted=wanted, wait_s=wait_s)
    try:
        keys = _keys(config) if rules.secure else None
        return run(plan, grid, journal, wanted_sites=wanted, wait_s=wait_s, keys=keys, begin_with=begin_with)
    except ConsiliumError as error:
        journal.event("stopped", reason=str(error), resumable=isinstance(error, TooFewSites | SumAborted))
        raise
    except Exception as error:
        log = journal.folder / CRASH
        write_atomic(log, traceback.format_exc().encode())
        journal.event("stopped", reason=f"the coordinator's app failed, {type(error).__name__}: {log}.", resumable=True)
        raise


def _keys(config: UserConfig) -> CoordinatorKeys:
    """The coordinator's key and the roster that names it."""
    for name in ("key", "roster"):
        if not config.get(name):
            raise PlanError(f"run config {name!r} is missing; a plan with secure sums needs key=FILE and roster=FILE.")
    key, roster = load_coordinator_key(Path(str(config["key"]))), read_roster(Path(str(config["roster"]))).roster
    if key.verify_key != roster.coordinator:
        raise PlanError(f"{config['key']}: is not the key that {config['roster']} names as the coordinator's.")
    return CoordinatorKeys(key, roster)


def _expected(config: UserConfig) -> int:
    """How many sites to wait for: as told, else every prepared site of a simulation, else 0."""
    told = int(config["sites-expected"])
    sites = str(config.get("sites", ""))
    if told or not sites:
        return told
    return len(list(Path(sites).glob("*/site.toml")))
