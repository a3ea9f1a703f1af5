"""`consilium simulate --benefit`: every virtual hospital's own report after a run, and one table of them all."""

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from client.benefit.cli import make
from client.benefit.words import UNKNOWN
from client.config import load_site
from experiments.simulate import SITES


def benefit_of_sites(out: Path, sites: list[str]) -> dict[str, dict[str, Any]]:
    """Site -> its report, which is also in `out`/sites/NAME. Raises ConsiliumError where a run has not ended."""
    return {site: make(load_site(out / SITES / site)) for site in sites}


def benefit_table(reports: dict[str, dict[str, Any]]) -> Table:
    """Sites in rows, tasks in columns: what joining did, by the intervals of the sites' own test rows."""
    tasks = list(dict.fromkeys(task for report in reports.values() for task in report["tasks"]))
    table = Table(
        title=Text("What joining did, by each hospital's own test rows", style="bold"),
        caption=Text("no difference: none that so few patients show. ?: cannot be said, with the reason in the report"),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("Site", overflow="fold")
    for task in tasks:
        table.add_column(task, overflow="fold")
    for site, report in reports.items():
        found = [report["tasks"].get(task, {}).get("joining", {}).get("verdict", "-") for task in tasks]
        table.add_row(Text(site), *(Text("?" if each == UNKNOWN else each) for each in found))
    return table
