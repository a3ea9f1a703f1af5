"""Numbers over seeds as cells of a Markdown table."""

from statistics import mean, stdev

from common.intervals import over_splits
from experiments.compare.gather import Result, Runs
from experiments.results.study import FEDERATION

SHORT = {
    "local": "same network, local",
    "pooled": "same network, pooled",
    "logistic_regression_pooled": "LR pooled",
    "logistic_regression_tuned_pooled": "LR tuned, pooled",
    "gradient_boosting_pooled": "GB pooled",
    "logistic_regression_local": "LR local",
}


def means(runs: Runs, label: str, measure: str) -> list[float]:
    """Mean over tasks for each seed."""
    return [mean(of(run, task, measure) for task in run["tasks"]) for run in runs[label].values()]


def series(runs: Runs, label: str, task: str, measure: str) -> list[float]:
    """One task for each seed."""
    return [of(run, task, measure) for run in runs[label].values()]


def of(run: Result, task: str, measure: str) -> float:
    return float(run["tasks"][task]["per_site_mean"][measure])


def tasks_of(runs: Runs) -> list[str]:
    return list(next(iter(runs[FEDERATION].values()))["tasks"])


def spread(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def interval(differences: list[float], overlap: float) -> str:
    """Mean with its interval. overlap: `judged_per_trained` of the splits."""
    found = over_splits(differences, overlap)
    return f"{found['mean']:+.3f} [{found.get('low', found['mean']):+.3f}, {found.get('high', found['mean']):+.3f}]"


def paired(first: list[float], second: list[float], overlap: float) -> str:
    """First minus second, seed by seed."""
    return interval([a - b for a, b in zip(first, second, strict=True)], overlap)


def listed(runs: Runs) -> str:
    seeds = sorted(runs[FEDERATION])
    return f"{seeds[0]} to {seeds[-1]}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
