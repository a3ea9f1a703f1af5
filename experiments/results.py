"""`make results`: runs the examples on the public data, seeds 0 to 4, and writes docs/results.md from what came out.

`python -m experiments.results DATA_FOLDER [SEED …]`
"""

import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from client.config import find_sites
from common.files import read_plan, write_atomic
from experiments.simulate import simulate

ROOT = Path(__file__).parents[1]
# example, folder of sites in the data folder, the measure that is judged
EXAMPLES = (
    ("heart", "fed_heart", "auroc"),
    ("eicu", "eicu_demo/by_site_group", "auroc"),
    ("heart-flamby", "fed_heart", "accuracy"),
)
_HEAD = """# Results on public data

Written by `make results DATA=FOLDER` (see [data.md](data.md) for the folder) from runs of the examples with their
defaults; do not edit by hand. One split per seed for all tasks, {split}. **Per-site mean**: the mean over sites with
both classes among at least {test} labelled test rows and at least {train} training rows. Plain sums, no noise.

Runs of commit `{commit}`, seeds {seeds}; mean ± standard deviation over seeds.
"""


def runs(example: str, data: Path, seeds: Iterable[int]) -> list[dict[str, Any]]:
    """One result per seed."""
    results = []
    for seed in seeds:
        overrides = (f"seeds.split={seed}", f"seeds.training={seed}")
        plan = read_plan(ROOT / "examples" / f"{example}.toml", overrides=overrides)
        with tempfile.TemporaryDirectory() as folder:
            results.append(simulate(plan, find_sites(data), Path(folder) / "run"))
    return results


def per_site_means(results: list[dict[str, Any]], measure: str) -> dict[str, list[float]]:
    """task -> the per-site mean of each seed that has one."""
    tasks = results[0]["tasks"]
    return {task: [r["tasks"][task]["per_site_mean"][measure] for r in results] for task in tasks}


def mean_over_tasks(results: list[dict[str, Any]], measure: str) -> list[float]:
    """The mean over tasks of each seed."""
    return [mean(values) for values in zip(*per_site_means(results, measure).values(), strict=True)]


def section(example: str, results: list[dict[str, Any]], measure: str) -> str:
    """One example as Markdown."""
    first = results[0]
    title = f"## {first['title']}\n\n`examples/{example}.toml`: {first['site_count']} sites, {first['rounds']} rounds, "
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
    plan = read_plan(ROOT / "examples" / "heart.toml")
    rules, parts = plan.evaluation, plan.split
    split = f"{parts.train:.0%} of patients to train, {parts.validation:.0%} to validate, {parts.test:.0%} to test"
    seen = ", ".join(map(str, seeds))
    document = [
        _HEAD.format(split=split, test=rules.min_test_rows, train=rules.min_train_rows, commit=commit, seeds=seen)
    ]
    for example, folder, measure in EXAMPLES:
        document.append(section(example, runs(example, data / folder, seeds), measure))
        print(document[-1], flush=True)
    write_atomic(ROOT / "docs" / "results.md", "\n".join(document).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or list(range(5)))
