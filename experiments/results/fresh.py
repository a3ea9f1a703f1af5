"""Splits on which nothing was looked at: by task against the better baseline, by hospital against its own model."""

from statistics import mean

from experiments.compare import comparison
from experiments.compare.gather import Runs
from experiments.results.cells import SHORT, listed, means, paired, series, spread, table, tasks_of
from experiments.results.study import FEDERATION, Example

_JUDGES = ("logistic_regression_pooled", "gradient_boosting_pooled")
_TUNED = "logistic_regression_tuned_pooled"
_LOCAL = "local"


def fresh_section(example: Example, runs: Runs) -> str:
    """Three tables."""
    measure = example.measure
    return "\n\n".join(
        [
            f"**Fresh splits**, seeds {listed(runs)}: federation minus baseline, paired, mean over tasks.",
            _models(runs, measure, example.overlap),
            "The same by task. Then federation minus the better of LR pooled and GB pooled, whichever is better on "
            "average over these splits (of the mean of all tasks, too: the floor is that less .005), and minus the "
            "tuned LR. The last row takes the better one task by task and then the mean, which is the aim.",
            _tasks(runs, measure, example.overlap),
            "The same by hospital: federation minus the same network trained at this hospital alone, mean over the "
            "tasks that count there; and on how many of its tasks the paired interval lies above 0, holds it, or lies "
            "below.",
            _hospitals(runs, example.overlap),
        ]
    )


def _models(runs: Runs, measure: str, overlap: float) -> str:
    own = means(runs, FEDERATION, measure)
    rows = [[FEDERATION, spread(own), ""]]
    for label in runs:
        if label != FEDERATION:
            values = means(runs, label, measure)
            rows.append([label, spread(values), paired(own, values, overlap)])
    return table(["model", measure, "federation minus this"], rows)


def _tasks(runs: Runs, measure: str, overlap: float) -> str:
    labels = [FEDERATION, *(label for label in SHORT if label in runs)]
    by_task = [{label: series(runs, label, task, measure) for label in labels} for task in tasks_of(runs)]
    all_tasks = {label: means(runs, label, measure) for label in labels}
    rows = [[task, *_cells(values, overlap)] for task, values in zip(tasks_of(runs), by_task, strict=True)]
    rows.append([f"**mean of {len(rows)}**", *(f"**{cell}**" for cell in _cells(all_tasks, overlap))])
    aim = [mean(each) for each in zip(*(values[_better(values)] for values in by_task), strict=True)]
    rows.append(["better one of each task", *[""] * len(labels), paired(all_tasks[FEDERATION], aim, overlap), ""])
    return table(["task", *(SHORT.get(label, label) for label in labels), "minus the better", "minus LR tuned"], rows)


def _better(values: dict[str, list[float]]) -> str:
    return max(_JUDGES, key=lambda label: mean(values[label]))


def _cells(values: dict[str, list[float]], overlap: float) -> list[str]:
    own = values[FEDERATION]
    tuned = paired(own, values[_TUNED], overlap) if _TUNED in values else ""
    return [*(spread(each) for each in values.values()), paired(own, values[_better(values)], overlap), tuned]


def _hospitals(runs: Runs, overlap: float) -> str:
    found = comparison({_LOCAL: runs[_LOCAL], FEDERATION: runs[FEDERATION]}, overlap=overlap)
    rows = []
    for site, differences in found["sites"].items():
        over_tasks = differences[FEDERATION]
        tasks = [task["sites"][site][FEDERATION] for task in found["tasks"].values() if site in task["sites"]]
        bounds = [(task.get("low", task["mean"]), task.get("high", task["mean"])) for task in tasks]
        above, below = sum(low > 0 for low, _ in bounds), sum(high < 0 for _, high in bounds)
        cell = f"{over_tasks['mean']:+.3f} [{over_tasks['low']:+.3f}, {over_tasks['high']:+.3f}]"
        rows.append([site, cell, str(above), str(len(bounds) - above - below), str(below)])
    return table(["hospital", "federation minus local", "tasks better", "no clear difference", "tasks worse"], rows)
