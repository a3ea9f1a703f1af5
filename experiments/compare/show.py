"""A comparison in the terminal: one table per compared label, tasks with their sites below each other."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from server.dashboard.wording import amount, fraction


def difference_tables(comparison: Mapping[str, Any]) -> list[Table]:
    """For each label but the first: per task and over all tasks both values, the difference and its interval."""
    return [_table(label, comparison) for label in comparison["labels"][1:]]


def _table(label: str, comparison: Mapping[str, Any]) -> Table:
    reference, seeds = comparison["reference"], len(comparison["seeds"])
    title = f"{label} minus {reference}, {seeds} seed{'s' if seeds != 1 else ''}"
    left_out = comparison["left_out"]
    caption = f"not judged in every run: {', '.join(left_out)}" if left_out else None
    table = Table(title=Text(title, style="bold"), title_justify="left", caption=caption, box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for name in (reference, label, "difference", f"{comparison['level']:.0%} interval"):
        table.add_column(Text(name), justify="right", overflow="fold")
    for name, task in comparison["tasks"].items():
        _row(table, f"{name} ({'MAE' if task['measure'] == 'mae' else 'AUROC'})", task, reference, label)
    if "mean_over_tasks" in comparison:
        whole = comparison["mean_over_tasks"]
        _row(table, f"mean of {len(whole['tasks'])}", whole, reference, label, style="bold")
    for site, differences in comparison["sites"].items():
        if label in differences:
            table.add_row(Text(f"at {site}"), "", "", *_difference(differences[label]), style="dim")
    return table


def _row(table: Table, name: str, entry: Mapping[str, Any], reference: str, label: str, style: str = "") -> None:
    lower = entry.get("measure") == "mae"
    unit = "" if entry.get("unit", "1") == "1" else entry["unit"]
    values = [
        amount(entry["values"][each], unit) if lower else fraction(entry["values"][each]) for each in (reference, label)
    ]
    table.add_row(Text(name), *map(Text, values), *_difference(entry["differences"][label]), style=style)


def _difference(row: Mapping[str, Any]) -> tuple[Text, Text]:
    """The mean, and its bounds; bold where 0 is not between them."""
    if "low" not in row:
        return Text(f"{row['mean']:+.3f}"), Text("-")
    apart = "bold" if row["low"] > 0 or row["high"] < 0 else ""
    return Text(f"{row['mean']:+.3f}", style=apart), Text(f"{row['low']:+.3f} to {row['high']:+.3f}", style=apart)
