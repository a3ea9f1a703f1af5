"""The table of hospitals that did not take part, beside what they would have had otherwise."""

from collections.abc import Mapping
from statistics import mean
from typing import Any

from experiments.compare.gather import Result, Runs
from experiments.results.cells import paired, spread, table
from experiments.results.study import FEDERATION, Example

HeldOut = Mapping[str, Mapping[int, Mapping[str, Mapping[str, Any]]]]
"""Hospital -> seed -> task -> metrics."""
_BESIDE = {FEDERATION: "took part", "local": "its own network", "logistic_regression_local": "its own LR"}


def held_out_section(example: Example, held_out: HeldOut, runs: Runs) -> str:
    """Mean over the tasks that count at the hospital."""
    rows = []
    for site, seeds in held_out.items():
        values: dict[str, list[float]] = {label: [] for label in ("others", *_BESIDE)}
        for seed, tasks in seeds.items():
            entries = {label: _at(runs[label][seed], site, example.measure) for label in _BESIDE}
            known = {name: task[example.measure] for name, task in tasks.items() if task["counted"]}
            shared = [name for name in known if all(name in entry for entry in entries.values())]
            if shared:
                values["others"].append(mean(known[name] for name in shared))
                for label, entry in entries.items():
                    values[label].append(mean(entry[name] for name in shared))
        if not values["others"]:
            continue
        beside = [spread(values[label]) for label in _BESIDE]
        rows.append(
            [site, spread(values["others"]), *beside, paired(values["others"], values["local"], example.overlap)]
        )
    words = (
        f"**A hospital that did not take part**: the federation of all others, judged on this hospital's test rows, "
        f"and what it has otherwise; mean over the tasks that count there, seeds {_seeds(held_out)}. The difference is "
        "that of the first and the third column, paired over seeds."
    )
    return words + "\n\n" + table(["hospital", "model of the others", *_BESIDE.values(), "difference"], rows)


def _at(run: Result, site: str, measure: str) -> dict[str, float]:
    """Task -> the hospital's own figure."""
    entries = {name: task.get("per_site", {}).get(site, {}) for name, task in run["tasks"].items()}
    return {name: entry[measure] for name, entry in entries.items() if measure in entry}


def _seeds(held_out: HeldOut) -> str:
    seeds = sorted({seed for each in held_out.values() for seed in each})
    return f"{seeds[0]} to {seeds[-1]}"
