"""Results over seeds as Markdown: tables of per-site means, and paired differences on fresh splits."""

from statistics import mean, stdev

from experiments.compare.gather import Result, Runs
from experiments.compare.intervals import summarise
from experiments.results.study import FEDERATION, Example

_SHORT = {
    "logistic_regression_pooled": "LR pooled",
    "logistic_regression_tuned_pooled": "LR tuned, pooled",
    "gradient_boosting_pooled": "GB pooled",
    "logistic_regression_local": "LR local",
}
_COMPARISON = (
    "single_task",
    "multi_label",
    "svm_pooled",
)  # the comparison that the article on multi-task learning asks for


def section(example: Example, main: Runs, fresh: Runs | None) -> str:
    """One example."""
    first = next(iter(main[FEDERATION].values()))
    seconds = mean(run["seconds"] for run in main[FEDERATION].values())
    parts = [
        f"## {first['title']}",
        f"`examples/{example.plan}`: {first['site_count']} sites, {first['rounds']} rounds, {first['parameters']:,} "
        f"parameters, {seconds:.1f} s a run in one process. Per-site mean of the {example.measure}, seeds "
        f"{_listed(main)}, mean ± standard deviation over seeds.",
        _tasks_table(example, main),
        "Every baseline, mean over tasks; the difference is baseline minus federation, paired over seeds, with its 95 "
        "percent bootstrap interval (too narrow at five seeds). Parameters and seconds of training are of one run.",
        _baselines_table(example, main),
    ]
    if fresh is not None:
        parts += [
            f"**Fresh splits**, seeds {_listed(fresh)}: federation minus baseline, paired, mean over tasks.",
            _fresh_table(example, fresh),
        ]
    return "\n\n".join(parts) + "\n"


def _tasks_table(example: Example, runs: Runs) -> str:
    labels = [FEDERATION, *(label for label in _SHORT if label in runs)]
    tasks = list(next(iter(runs[FEDERATION].values()))["tasks"])
    rows = [
        [task, *(_spread([_of(run, task, example.measure) for run in runs[label].values()]) for label in labels)]
        for task in tasks
    ]
    if len(tasks) > 1:
        means = [_spread(_means(runs, label, example.measure)) for label in labels]
        rows.append([f"**mean of {len(tasks)}**", *(f"**{cell}**" for cell in means)])
    return _table(["task", *(_SHORT.get(label, label) for label in labels)], rows)


def _baselines_table(example: Example, runs: Runs) -> str:
    own = _means(runs, FEDERATION, example.measure)
    rows = []
    for label, seeds in runs.items():
        values = _means(runs, label, example.measure)
        difference = "" if label == FEDERATION else _interval([b - a for a, b in zip(own, values, strict=True)])
        size = f"{mean(run['parameters'] for run in seeds.values()):,.0f}"
        name = f"**{label}**" if label in (FEDERATION, *_COMPARISON) else label
        rows.append([name, _spread(values), difference, size, f"{mean(run['seconds'] for run in seeds.values()):.1f}"])
    return _table(["model", example.measure, "difference", "parameters", "s"], rows)


def _fresh_table(example: Example, runs: Runs) -> str:
    own = _means(runs, FEDERATION, example.measure)
    rows = [[FEDERATION, _spread(own), ""]]
    for label in runs:
        if label != FEDERATION:
            values = _means(runs, label, example.measure)
            rows.append([label, _spread(values), _interval([a - b for a, b in zip(own, values, strict=True)])])
    return _table(["model", example.measure, "federation minus this"], rows)


def _means(runs: Runs, label: str, measure: str) -> list[float]:
    """Mean over tasks for each seed."""
    return [mean(_of(run, task, measure) for task in run["tasks"]) for run in runs[label].values()]


def _of(run: Result, task: str, measure: str) -> float:
    return float(run["tasks"][task]["per_site_mean"][measure])


def _spread(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def _interval(differences: list[float]) -> str:
    found = summarise(differences)
    return f"{found['mean']:+.3f} [{found.get('low', found['mean']):+.3f}, {found.get('high', found['mean']):+.3f}]"


def _listed(runs: Runs) -> str:
    seeds = sorted(runs[FEDERATION])
    return f"{seeds[0]} to {seeds[-1]}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
