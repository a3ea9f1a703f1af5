"""What a person sees of the baselines: progress while they are fitted, and the table of tasks by baselines."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from server.dashboard.scores import score_of
from server.dashboard.wording import DASH, count, duration, fraction

_WIDEST = 12  # characters of a baseline's column, whose heading is broken between words


class FitProgress:
    """Listens to `run_baselines`: a live bar on a terminal, one plain line per baseline elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (SpinnerColumn("line"), MofNCompleteColumn(), BarColumn(20), TimeElapsedColumn())
        self._bar = Bar(*columns, TextColumn("{task.description}", markup=False), console=console, transient=True)
        self._bar_task: TaskID | None = None
        self._name = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        if event["event"] == "baseline":
            self._name = event["name"]
            if self._bar_task is None:
                self._bar_task = self._bar.add_task("", total=event["total"])
            self._bar.update(self._bar_task, completed=event["number"] - 1, description=self._name)
        elif event["event"] == "fit" and self._bar_task is not None:
            self._bar.update(self._bar_task, description=f"{self._name}: {event['what']}")
        elif event["event"] == "fitted":
            self._line(f"{event['name']}: fitted in {duration(event['seconds'])}")
        elif event["event"] == "left_out":
            self._line(f"left out: {event['name']} ({event['reason']})")

    def _line(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


def summary_tables(summary: Mapping[str, Any], *, width: int) -> list[Table]:
    """Tasks by baselines, per-site means with the best of each task in bold, then parameters and seconds.

    width: characters of the terminal; baselines that do not fit beside each other go into a further table.
    """
    names = list(summary["baselines"])
    rows = _rows(summary)
    at_once = max(1, (width - 4 - max(len(label) for label, _ in rows)) // (_WIDEST + 3))
    tables = []
    for first in range(0, len(names), at_once):
        shown = names[first : first + at_once]
        title = Text("Per-site mean AUROC (for a quantity MAE)", style="bold") if first == 0 else None
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        table.add_column("Task", no_wrap=True)
        for name in shown:
            table.add_column(Text(name.replace("_", " ")), justify="right", max_width=_WIDEST)
        for label, cells in rows:
            table.add_row(Text(label), *(cells[name] for name in shown))
        tables.append(table)
    return tables


def mean_auroc(entry: Mapping[str, Any], tasks: set[str]) -> float | None:
    """The mean of a baseline's per-site AUROC over `tasks`; None where it lacks one of them."""
    values = [entry["tasks"].get(task, {}).get("auroc") for task in sorted(tasks)]
    return None if not values or None in values else sum(values) / len(values)


def _rows(summary: Mapping[str, Any]) -> list[tuple[str, dict[str, Text]]]:
    baselines = summary["baselines"]
    tasks = list(dict.fromkeys(name for entry in baselines.values() for name in entry["tasks"]))
    rows = []
    ranked = {task for task in tasks if _measure(baselines, task) == "auroc"}
    for task in tasks:
        measure = _measure(baselines, task)
        values = {name: entry["tasks"].get(task, {}).get(measure) for name, entry in baselines.items()}
        texts = {name: _text(entry["tasks"].get(task, {}), values[name]) for name, entry in baselines.items()}
        lower = measure == "mae"
        rows.append((f"{task} (MAE)" if lower else task, _bold(values, texts, lower=lower)))
    if len(ranked) > 1:
        means = {name: mean_auroc(entry, ranked) for name, entry in baselines.items()}
        texts = {name: fraction(value) for name, value in means.items()}
        rows.append((f"mean of {len(ranked)}", _bold(means, texts, lower=False)))
    rows.append(("parameters", {name: Text(count(entry["parameters"])) for name, entry in baselines.items()}))
    rows.append(("seconds", {name: Text(f"{entry['seconds']:.1f}") for name, entry in baselines.items()}))
    return rows


def _measure(baselines: Mapping[str, Any], task: str) -> str:
    kinds = {entry["tasks"][task]["kind"] for entry in baselines.values() if task in entry["tasks"]}
    return "mae" if "regression" in kinds else "auroc"


def _text(task: Mapping[str, Any], value: float | None) -> str:
    return DASH if value is None else score_of(task).text(value)


def _bold(values: Mapping[str, float | None], texts: Mapping[str, str], *, lower: bool) -> dict[str, Text]:
    known = [value for value in values.values() if value is not None]
    best = (min(known) if lower else max(known)) if known else None
    style = {name: "bold" if value is not None and value == best else "" for name, value in values.items()}
    return {name: Text(text, style=style[name]) for name, text in texts.items()}
