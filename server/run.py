"""One run from a plan and a grid to a folder: what the ServerApp and the simulation both call."""

from collections.abc import Callable
from typing import Any

from flwr.serverapp import Grid

from common.plan import Plan
from common.secagg.messages import Roster
from server.coordinator import Coordinator
from server.dashboard.report import write_report
from server.journal import Journal
from server.result import assemble, write_model, write_result
from server.secure_state import CoordinatorKeys

SiteFiles = Callable[[], dict[str, Any]]


def run(
    plan: Plan,
    grid: Grid,
    journal: Journal,
    *,
    wanted_sites: int,
    site_files: SiteFiles | None = None,
    wait_s: float = 120.0,
    keys: CoordinatorKeys | None = None,
    begin_with: int | None = None,
) -> dict[str, Any]:
    """Run all phases and leave model.safetensors, report.html and result.json in the journal's folder.

    wanted_sites: sites to wait for before round 1, up to `wait_s` seconds. site_files: reads the sites' own files after
    the run, which only a simulation can. keys: the coordinator's, for a plan with secure sums. begin_with: sites that
    suffice after that wait; None: all `wanted_sites`. Returns the result. Raises RunError and TooFewSites.
    """
    state = Coordinator(plan, grid, journal, wanted_sites, wait_s, keys, begin_with).run()
    protocol = None if keys is None else _rules(keys.roster)
    own = site_files() if site_files else None
    result = assemble(plan, state, secure=plan.aggregation.secure, sites=own, protocol=protocol)
    write_model(plan, state, journal.folder)
    write_report(result, journal.folder / "report.html")
    write_result(result, journal.folder)
    return result


def _rules(roster: Roster) -> dict[str, Any]:
    """What the result says of the roster behind secure sums."""
    return {
        "threshold": roster.threshold,
        "committee": len(roster.committee),
        "colluding_sites": roster.colluding,
        "min_cohort": roster.min_cohort,
    }
