"""`comparison`: paired differences of every label against the first, by task, by site and over all tasks."""

from collections.abc import Mapping
from typing import Any

from common.intervals import LEVEL, over_splits
from common.plan.data import SplitRules
from experiments.compare.gather import Result, Runs

Series = dict[int, float]  # split seed -> value


def comparison(runs: Runs, *, overlap: float | None = None) -> dict[str, Any]:
    """Differences "label minus first label" with intervals over splits, as what --json writes.

    A task is judged by the per-site mean of its AUROC, a regression by that of its mean absolute error; the mean over
    tasks, and over a site's tasks, takes in the AUROC only: errors have units. Differences are signed as they are, so
    that for an error less than 0 is better. overlap: `judged_per_trained` of common/intervals.py; by default counted in
    the first run.
    """
    reference = next(iter(runs))
    overlap = _judged_per_trained(runs) if overlap is None else overlap
    judged = {name: kind for name, kind in _kinds(runs).items() if _everywhere(runs, name, _measure(kind))}
    ranked = [name for name, kind in judged.items() if _measure(kind) == "auroc"]
    result: dict[str, Any] = {
        "schema": "consilium/comparison/1",
        "reference": reference,
        "labels": list(runs),
        "seeds": list(runs[reference]),
        "level": LEVEL,
        "judged_per_trained": overlap,
        "left_out": sorted(_kinds(runs).keys() - judged.keys()),
        "tasks": {name: _task(runs, name, _measure(kind), overlap) for name, kind in judged.items()},
        "sites": _sites(runs, ranked, overlap),
    }
    if ranked:
        result["mean_over_tasks"] = {
            "tasks": ranked,
            **_compared(_by_label(runs, lambda run: _mean_of(run, ranked)), overlap),
        }
    return result


def _task(runs: Runs, name: str, measure: str, overlap: float) -> dict[str, Any]:
    first = next(iter(runs[next(iter(runs))].values()))["tasks"][name]
    per_site: dict[str, Any] = {}
    for site in _site_names(runs):
        values = _by_label(runs, lambda run: _at_site(run, name, site, measure))  # noqa: B023  called at once
        found = _compared(values, overlap)
        if found["differences"]:
            per_site[site] = found["differences"]
    means = _compared(_by_label(runs, lambda run: run["tasks"][name]["per_site_mean"][measure]), overlap)
    return {"measure": measure, "unit": first.get("unit", "1"), **means, "sites": per_site}


def _sites(runs: Runs, ranked: list[str], overlap: float) -> dict[str, Any]:
    """Each site's differences of the mean over the tasks that count there."""
    result = {}
    for site in _site_names(runs):

        def mean(run: Result, site: str = site) -> float | None:
            values = [_at_site(run, name, site, "auroc") for name in ranked]
            known = [value for value in values if value is not None]
            return sum(known) / len(known) if known else None

        found = _compared(_by_label(runs, mean), overlap)
        if found["differences"]:
            result[site] = found["differences"]
    return result


def _compared(series: Mapping[str, Series], overlap: float) -> dict[str, Any]:
    """values: label -> mean over seeds; differences: label -> summary over the seeds that both have."""
    (_, base), *others = series.items()
    differences = {}
    for label, values in others:
        paired = [values[seed] - base[seed] for seed in sorted(base.keys() & values.keys())]
        if paired:
            differences[label] = over_splits(paired, overlap)
    means = {label: sum(values.values()) / len(values) for label, values in series.items() if values}
    return {"values": means, "differences": differences}


def _by_label(runs: Runs, value: Any) -> dict[str, Series]:
    series: dict[str, Series] = {}
    for label, seeds in runs.items():
        found = {seed: value(run) for seed, run in seeds.items()}
        series[label] = {seed: number for seed, number in found.items() if number is not None}
    return series


def _at_site(run: Result, task: str, site: str, measure: str) -> float | None:
    """A site's score where the site counts in the per-site mean."""
    entry = run["tasks"][task].get("per_site", {}).get(site, {})
    return entry.get(measure) if entry.get("counted") else None


def _mean_of(run: Result, ranked: list[str]) -> float:
    return sum(run["tasks"][name]["per_site_mean"]["auroc"] for name in ranked) / len(ranked)


def _judged_per_trained(runs: Runs) -> float:
    """Labelled test rows for each labelled training row, over tasks and sites of a run that counted both."""
    for run in (run for seeds in runs.values() for run in seeds.values()):
        entries = [site for task in run["tasks"].values() for site in task.get("per_site", {}).values()]
        judged, trained = (sum(entry.get(key, 0) for entry in entries) for key in ("n", "train_n"))
        if judged and trained:
            return float(judged / trained)
    return SplitRules().test / SplitRules().train


def _kinds(runs: Runs) -> dict[str, str]:
    return {
        name: task["kind"] for seeds in runs.values() for run in seeds.values() for name, task in run["tasks"].items()
    }


def _measure(kind: str) -> str:
    return "mae" if kind == "regression" else "auroc"


def _everywhere(runs: Runs, name: str, measure: str) -> bool:
    every = [run["tasks"].get(name, {}) for seeds in runs.values() for run in seeds.values()]
    return all(measure in task.get("per_site_mean", {}) for task in every)


def _site_names(runs: Runs) -> list[str]:
    return sorted({site for seeds in runs.values() for run in seeds.values() for site in run.get("sites", {})})
