"""A data report on the terminal."""

from rich.console import Console
from rich.table import Table

from client.data.report import DataReport, FeatureReport, TaskReport


def print_report(report: DataReport, console: Console) -> None:
    """Print `report` to `console`: rows and sets, tasks, features, and what looks like a slip."""
    sets = ", ".join(f"{name} {count:,}" for name, count in report.rows_by_set.items())
    console.print(f"[bold]{report.site}[/bold]: {report.rows:,} rows of {report.patients:,} patients ({sets})")
    dropped = ", ".join(f"{reason} {count:,}" for reason, count in report.dropped.items())
    console.print(f"read {report.rows_read:,} rows; dropped: {dropped or 'none'}", markup=False)
    if report.tasks:
        console.print(_tasks(report.tasks))
    console.print(_features(report.features))
    if report.hour_features:
        gone = ", ".join(f"{reason} {count:,}" for reason, count in report.hours_dropped.items())
        console.print(f"read {report.hours_read:,} rows of hours; no inputs: {gone or 'none'}", markup=False)
        console.print(_features(report.hour_features))
    for sentence in report.warnings:
        console.print(f"warning: {sentence}", style="yellow", markup=False)


def _tasks(tasks: tuple[TaskReport, ...]) -> Table:
    table = Table("task", "label", "labelled", "prevalence, mean or shares", "unusable")
    for task in tasks:
        result = " ".join(f"{code}: {share:.3f}" for code, share in task.shares.items())
        if task.mean is not None:
            result = f"{task.mean:.3f}"
        unusable = task.out_of_range + task.unknown_code + task.not_finite
        labelled = f"{task.labelled:,}" if task.recorded else "not recorded"
        table.add_row(task.name, task.label, labelled, result, f"{unusable:,}" if unusable else "")
    return table


def _features(features: tuple[FeatureReport, ...]) -> Table:
    table = Table("feature", "missing", "out of range", "unknown code", "not finite", "unit")
    for feature in features:
        unit = feature.unit if feature.unit_from is None else f"{feature.unit_from} to {feature.unit}"
        counts = (feature.out_of_range, feature.unknown_code, feature.not_finite)
        missing = f"{feature.missing:.1%}" if feature.recorded else "not recorded"
        # Units such as [degF] are no markup.
        table.add_row(
            feature.name, missing, *(f"{count:,}" if count else "" for count in counts), unit.replace("[", r"\[")
        )
    return table
