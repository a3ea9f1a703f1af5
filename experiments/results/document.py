"""Results over seeds as Markdown: tables of per-site means with every baseline, and what follows from other splits."""

from statistics import mean

from experiments.compare.gather import Runs
from experiments.results.cells import SHORT, listed, means, paired, series, spread, table, tasks_of
from experiments.results.fresh import fresh_section
from experiments.results.newcomers import HeldOut, held_out_section
from experiments.results.study import FEDERATION, Example

_COMPARISON = (
    "single_task",
    "multi_label",
    "svm_pooled",
)  # the comparison that the article on multi-task learning asks for
_SHOWN = ("logistic_regression_pooled", "logistic_regression_tuned_pooled", "gradient_boosting_pooled")
_BESIDE = (*_SHOWN, "logistic_regression_local")


def section(example: Example, main: Runs, fresh: Runs | None, held_out: HeldOut) -> str:
    """One example."""
    first = next(iter(main[FEDERATION].values()))
    seconds = mean(run["seconds"] for run in main[FEDERATION].values())
    sums = "secure sums" if first["secure"] else "sums in the open"
    parts = [
        f"## {first['title']}",
        f"`examples/{example.plan}`: {first['site_count']} sites, {sums}, {first['rounds']} rounds, "
        f"{first['parameters']:,} parameters, {seconds:.1f} s a run in one process. Per-site mean of the "
        f"{example.measure}, seeds {listed(main)}, mean ± standard deviation over seeds.",
        _tasks_table(example, main),
        "Every baseline, mean over tasks; the difference is federation minus baseline, paired over seeds, with its 95 "
        "percent interval. Parameters and seconds of training are of one run.",
        _baselines_table(example, main),
    ]
    if fresh is not None:
        parts.append(fresh_section(example, fresh))
    if held_out:
        parts.append(held_out_section(example, held_out, main))
    return "\n\n".join(parts) + "\n"


def _tasks_table(example: Example, runs: Runs) -> str:
    labels = [FEDERATION, *(label for label in _BESIDE if label in runs)]
    rows = [
        [task, *(spread(series(runs, label, task, example.measure)) for label in labels)] for task in tasks_of(runs)
    ]
    if len(rows) > 1:
        over_tasks = [spread(means(runs, label, example.measure)) for label in labels]
        rows.append([f"**mean of {len(rows)}**", *(f"**{cell}**" for cell in over_tasks)])
    return table(["task", *(SHORT.get(label, label) for label in labels)], rows)


def _baselines_table(example: Example, runs: Runs) -> str:
    own = means(runs, FEDERATION, example.measure)
    rows = []
    for label, seeds in runs.items():
        values = means(runs, label, example.measure)
        difference = "" if label == FEDERATION else paired(own, values, example.overlap)
        size = f"{mean(run['parameters'] for run in seeds.values()):,.0f}"
        name = f"**{label}**" if label in (FEDERATION, *_COMPARISON) else label
        rows.append([name, spread(values), difference, size, f"{mean(run['seconds'] for run in seeds.values()):.1f}"])
    return table(["model", example.measure, "difference", "parameters", "s"], rows)
