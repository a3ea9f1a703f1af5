"""`consilium site benefit`: what joining was worth for this hospital, made here after a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from client.config import SiteConfig


def benefit(
    site: Annotated[Path, typer.Argument(help="The hospital's folder, or its site.toml, after a run has ended.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare the federated model with this hospital's own, choose and calibrate one per task; nothing leaves."""
    from client.benefit.site import PAGE, REPORT
    from client.config import load_home
    from client.warn import warn

    config = load_home(site, why="has no model of a run")
    report = make(config, warn=warn)
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    console = Console(soft_wrap=True)
    for sentence in (*report["words"], *report["notes"]):
        console.print(sentence, markup=False, highlight=False)
    console.print(_table(report))
    for name in (REPORT, PAGE):
        console.print(f"{config.folder / name}", markup=False, highlight=False)


def make(config: "SiteConfig", *, warn: Callable[[str], None] = lambda sentence: None) -> dict[str, Any]:
    """Assess the last run at this site, keep report, page and outputs in its folder; gives the report.

    warn: told what looks like a slip in the site's tables.
    """
    from client.benefit.assess import assess
    from client.benefit.page import benefit_page
    from client.benefit.site import keep, open_site
    from client.policy.policy import load_policy

    finished = open_site(config)
    for sentence in finished.rows.table.report.warnings:
        warn(sentence)
    report, outputs = assess(finished, least=load_policy(config.policy).limits.min_patients)
    keep(config, report, benefit_page(report), outputs)
    return report


def _table(report: dict[str, Any]) -> Table:
    from client.benefit.words import figure, interval

    shown = Table(box=SIMPLE_HEAD)
    shown.add_column("Task", overflow="fold")
    for name in ("Joining", "Chosen", "ECE", "Covered", "Cannot say"):
        shown.add_column(name, no_wrap=True)
    for name, entry in report["tasks"].items():
        joining, calibration, sets = entry["joining"], entry["calibration"], entry["conformal"]
        gain = interval(joining["gain"], sign=True) if "gain" in joining else joining["verdict"]
        error = " -> ".join(figure(calibration[key]["ece"]) for key in ("before", "after") if key in calibration)
        covered = f"{sets['covered']:.0%}" if "covered" in sets else "-"
        silent = f"{entry['cannot_say']['share']:.0%}" if "share" in entry["cannot_say"] else "-"
        cells = (name, gain, entry["choice"]["model"], error or "-", covered, silent)
        shown.add_row(*(Text(cell) for cell in cells))
    return shown
