"""One run from a plan and a grid to a folder: what the ServerApp and the simulation both call."""

from collections.abc import Callable
from typing import Any

from flwr.serverapp import Grid

from common.plan import Plan
from server.coordinator import Coordinator
from server.dashboard.report import write_report
from server.journal import Journal
from server.result import assemble, write_model, write_result

SiteFiles = Callable[[], dict[str, Any]]


def run(
    plan: Plan,
    grid: Grid,
    journal: Journal,
    *,
    wanted_sites: int,
    site_files: SiteFiles | None = None,
    wait_s: float = 120.0,
) -> dict[str, Any]:
    """Run all phases and leave model.safetensors, report.html and result.json in the journal's folder.

    wanted_sites: sites to wait for before round 1, up to `wait_s` seconds. site_files: reads the sites' own files after
    the run, which only a simulation can. Returns the result. Raises RunError and TooFewSites.
    """
    state = Coordinator(plan, grid, journal, wanted_sites, wait_s).run()
    result = assemble(plan, state, secure=False, sites=site_files() if site_files else None)
    write_model(plan, state, journal.folder)
    write_report(result, journal.folder / "report.html")
    write_result(result, journal.folder)
    return result
