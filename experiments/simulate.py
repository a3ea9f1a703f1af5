"""A federation in one process: virtual sites, the real apps, the real door. Behind `consilium simulate` and `demo`."""

import json
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from client.app import app
from client.comparison import UNLIKE
from client.config import SiteConfig, load_site, virtual_site, write_site_toml
from client.data.table import SiteTable, load_table
from client.ledger.file import LEDGER
from client.ledger.reading import read_receipts
from client.secure.store import MemoryVault
from client.session import Session
from client.sessions import close_sessions, keep_session
from common.balancing import require_extra
from common.errors import PlanError, RunError
from common.plan import Plan
from experiments.enrolment import approve_virtual, check_rules, enrol_virtual
from experiments.seeded import SeededRandomness
from server.inprocess import InProcessGrid
from server.journal import PLAN, Journal, Listener
from server.result import RESULT
from server.run import run
from server.start import check_start, keep_start

SITES = "sites"


def simulate(
    plan: Plan,
    sites: Iterable[SiteConfig],
    out: Path,
    *,
    resume: bool = False,
    listeners: tuple[Listener, ...] = (),
    start: Path | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Run `plan` over `sites` in this process and return the result, which is also in `out`/result.json.

    Each virtual site gets a folder `out`/sites/NAME with a site.toml, its approved plan, policy, ledger and results.
    start: the earlier model that a plan with [start] goes on from; a run that resumes has it already.
    warn: told what is allowed in a site's table and looks like a slip, such as a column in another unit.
    Raises PlanError, DataError, and Refusal where torchjd is missing, before anything is written; RunError and
    TooFewSites afterwards.
    """
    configs = list(sites)
    require_extra(plan)
    _check_count(plan, len(configs))
    check_start(plan, start, out)
    if plan.aggregation.secure:
        check_rules(plan, configs)
    tables = {config.name: load_table(config, plan) for config in configs}  # checked before a folder is claimed
    _check_labels(plan, tables)
    for name, table in tables.items():
        for sentence in table.report.warnings:
            warn(f"{name}: {sentence}")
    journal = Journal(out, plan, resume=resume, listeners=listeners)
    if resume and (finished := _finished(out)) is not None and set(finished["sites"]) == set(tables):
        journal.close()
        return finished
    if start is not None:
        keep_start(plan, start, out)
    prepared = prepare_sites(plan, configs, out)
    random = {name: SeededRandomness(plan.seeds.training, name) for name in prepared}
    logging.getLogger("flwr").setLevel(logging.WARNING)  # its own line per aggregation would bury the progress
    torch.set_num_threads(1)  # models of this size lose time to threads; one thread also fixes the order of sums
    close_sessions()
    keys = enrol_virtual(plan, prepared, out) if plan.aggregation.secure else None
    for name, path in prepared.items():
        session = Session(load_site(path), plan, virtual=True)
        session.table, session.vault, session.randomness = tables[name], MemoryVault(), random[name]
        keep_session(session)
    grid = InProcessGrid(app, [{"site-config": str(path)} for path in prepared.values()])
    try:
        own = partial(read_site_files, prepared)
        return run(plan, grid, journal, wanted_sites=len(prepared), site_files=own, keys=keys)
    finally:
        close_sessions()
        journal.close()


def _check_count(plan: Plan, sites: int) -> None:
    rules = plan.aggregation
    if sites >= rules.least_sites:
        return
    if sites >= rules.min_sites:
        raise RunError(
            f"{sites} site(s) found, a secure sum needs {rules.least_sites}; with aggregation.secure = false the "
            "coordinator sees each site's update."
        )
    raise RunError(f"{sites} site(s) found, the plan's aggregation.min_sites is {rules.min_sites}.")


def _check_labels(plan: Plan, tables: dict[str, SiteTable]) -> None:
    """A task whose label column no site has is a slip in the plan; one whose cells are empty everywhere is left out."""
    for task in plan.tasks:
        if all(task.source in table.report.absent_labels for table in tables.values()):
            what = f"its label column {task.label!r}" if task.label else f"what its event {task.event!r} is made of"
            raise PlanError(
                f"task {task.name!r}: no site has {what}; "
                "correct 'label' in the plan, or name the column under [columns] in a site.toml."
            )


def _finished(out: Path) -> dict[str, Any] | None:
    """The result of a run that came to its end here, or None if it is not there or not whole."""
    try:
        result = json.loads((out / RESULT).read_bytes())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and isinstance(result.get("sites"), dict) else None


def prepare_sites(plan: Plan, configs: Iterable[SiteConfig], out: Path) -> dict[str, Path]:
    """Site name -> its site.toml in `out`/sites, each with policy, key, and `out`/plan.json as the plan it approved."""
    result = {}
    for config in configs:
        path = out / SITES / config.name / "site.toml"
        result[config.name] = write_site_toml(virtual_site(config, plan=out / PLAN), path).source
    approve_virtual(plan, result.values())
    return dict(sorted(result.items()))


def read_site_files(sites: dict[str, Path]) -> dict[str, Any]:
    """What a simulation may read and a coordinator may not: each site's report, evaluation and receipts."""
    result = {}
    for name, toml in sites.items():
        folder = toml.parent
        if not (folder / "evaluation.json").exists():
            continue  # the site failed before the end and is named in the event log
        report = json.loads((folder / "data_report.json").read_text())
        # A resumed run may have released a round twice; the model was made of the last one.
        updates = [receipt for receipt in read_receipts(folder / LEDGER) if receipt["release"] == "update"]
        norms = {receipt["step"]["round"]: receipt for receipt in updates}
        result[name] = {
            "evaluation": json.loads((folder / "evaluation.json").read_text()),
            "data": {
                "rows": report["rows"],
                "patients": report["patients"],
                **report["rows_by_set"],
                "unlike": _unlike(folder),
                "missing": {
                    feature["name"]: feature["missing"] for feature in (*report["features"], *report["hour_features"])
                },
            },
            "norms": [
                {"round": number, "before": d["norm_before_clip"], "after": d["norm_after_clip"]}
                for number, d in sorted(norms.items())
            ],
        }
    return result


def _unlike(folder: Path) -> list[str]:
    """What a site found unlike the others, in its own words."""
    path = folder / UNLIKE
    return [finding["words"] for finding in json.loads(path.read_text())["findings"]] if path.exists() else []
