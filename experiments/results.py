"""`make results`: runs what examples/results.toml lists over seeds 0 to 4 and writes docs/results.md.

`python -m experiments.results DATA_FOLDER [SEED …]`
"""

import logging
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from client.config import find_sites
from common.files import read_plan, write_atomic
from experiments.simulate import simulate

ROOT = Path(__file__).parents[1]
_HEAD = """# Results on public data

Written by `make results DATA=FOLDER` (see [data.md](data.md) for the folder) from runs of the examples with their
defaults; do not edit by hand. One split per seed for all tasks. **Per-site mean**: the mean over sites with both
classes among the labelled test rows, and with as many test and training rows as `[evaluation]` in the plan asks for.
Plain sums, no noise.

Runs of commit `{commit}`, seeds {seeds}; mean ± standard deviation over seeds.
"""


@dataclass(frozen=True)
class Example:
    """One entry of examples/results.toml. sites: folder below the data folder. measure: which metric is judged."""

    plan: str
    sites: str
    measure: str


def examples() -> list[Example]:
    """What is run, in order."""
    content = tomllib.loads((ROOT / "examples" / "results.toml").read_text())
    return [Example(**entry) for entry in content["runs"]]


def runs(example: Example, data: Path, seeds: Iterable[int]) -> list[dict[str, Any]]:
    """One result per seed."""
    results = []
    for seed in seeds:
        overrides = (f"seeds.split={seed}", f"seeds.training={seed}")
        plan = read_plan(ROOT / "examples" / example.plan, overrides=overrides)
        with tempfile.TemporaryDirectory() as folder:
            results.append(simulate(plan, find_sites(data / example.sites), Path(folder) / "run"))
    return results


def per_site_means(results: list[dict[str, Any]], measure: str) -> dict[str, list[float]]:
    """task -> the per-site mean of each seed."""
    tasks = results[0]["tasks"]
    return {task: [r["tasks"][task]["per_site_mean"][measure] for r in results] for task in tasks}


def mean_over_tasks(results: list[dict[str, Any]], measure: str) -> list[float]:
    """The mean over tasks of each seed."""
    return [mean(values) for values in zip(*per_site_means(results, measure).values(), strict=True)]


def section(example: Example, results: list[dict[str, Any]]) -> str:
    """One example as Markdown."""
    first, measure = results[0], example.measure
    title = f"## {first['title']}\n\n`examples/{example.plan}`: {first['site_count']} sites, {first['rounds']} rounds, "
    title += f"{first['parameters']:,} parameters, {mean(r['seconds'] for r in results):.1f} s a run in one process.\n"
    lines = [f"| task | per-site mean {measure} | pooled {measure} |", "|---|---|---|"]
    pooled = {task: [r["tasks"][task]["pooled"][measure] for r in results] for task in first["tasks"]}
    for task, values in per_site_means(results, measure).items():
        lines.append(f"| {task} | {_spread(values)} | {_spread(pooled[task])} |")
    if len(first["tasks"]) > 1:
        whole = [mean(values) for values in zip(*pooled.values(), strict=True)]
        own = mean_over_tasks(results, measure)
        lines.append(f"| **mean of {len(first['tasks'])}** | **{_spread(own)}** | {_spread(whole)} |")
    return title + "\n" + "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def main(data: Path, seeds: list[int]) -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    document = [_HEAD.format(commit=commit, seeds=", ".join(map(str, seeds)))]
    for example in examples():
        document.append(section(example, runs(example, data, seeds)))
        print(document[-1], flush=True)
    write_atomic(ROOT / "docs" / "results.md", "\n".join(document).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or list(range(5)))
