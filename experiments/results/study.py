"""What is run for docs/results.md, as examples/results.toml lists it; a finished run is not run again."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from client.config import find_sites
from common.files import read_plan
from common.plan import Plan
from experiments.baselines import run_baselines
from experiments.baselines.run import SUMMARY
from experiments.compare.gather import Runs, gather
from experiments.simulate import simulate

ROOT = Path(__file__).parents[2]
FEDERATION = "federation"


@dataclass(frozen=True)
class Example:
    """plan: file in examples. sites: folder below the data folder. measure: which metric is judged.

    seeds: with every baseline. fresh_seeds: with `fresh_baselines` only; empty where the split is given.
    held_out: how many hospitals, the largest first, are left out of the training in turn.
    """

    plan: str
    sites: str
    measure: str
    seeds: tuple[int, ...]
    fresh_seeds: tuple[int, ...]
    fresh_baselines: tuple[str, ...]
    held_out: int

    @property
    def overlap(self) -> float:
        """Test rows per training row of a random split; 0 where the plan's split is given."""
        return overlap(plan_of(self, self.seeds[0]))


def examples() -> list[Example]:
    """What is run, in order."""
    content = tomllib.loads((ROOT / "examples" / "results.toml").read_text())
    seeds, fresh, names = (tuple(content[key]) for key in ("seeds", "fresh_seeds", "fresh_baselines"))
    return [
        Example(
            plan=run["plan"],
            sites=run["sites"],
            measure=run["measure"],
            seeds=seeds,
            fresh_seeds=fresh if run.get("fresh", True) else (),
            fresh_baselines=names,
            held_out=run.get("held_out", 0),
        )
        for run in content["runs"]
    ]


def overlap(plan: Plan) -> float:
    """`judged_per_trained` of common/intervals.py for results on test rows."""
    return 0.0 if plan.split.split_column is not None else plan.split.test / plan.split.train


def plan_of(example: Example, seed: int) -> Plan:
    """The example's plan with both seeds set."""
    overrides = (f"seeds.split={seed}", f"seeds.training={seed}")
    return read_plan(ROOT / "examples" / example.plan, overrides=overrides)


def federations(example: Example, data: Path, seeds: Iterable[int], work: Path) -> list[dict[str, Any]]:
    """The federation's result for each seed."""
    configs = find_sites(data / example.sites)
    folder = work / example.plan / FEDERATION
    return [simulate(plan_of(example, seed), configs, folder / str(seed), resume=True) for seed in seeds]


def baselines(example: Example, data: Path, seeds: Iterable[int], work: Path, only: Sequence[str] = ()) -> None:
    """Fit baselines for each seed, all of them or those in `only`."""
    configs = find_sites(data / example.sites)
    for seed in seeds:
        out = work / example.plan / "baselines" / str(seed)
        if not (out / SUMMARY).exists():
            run_baselines(plan_of(example, seed), configs, out, only=only)


def gathered(example: Example, seeds: Iterable[int], work: Path) -> Runs:
    """label -> seed -> result, the federation first."""
    folder, runs = work / example.plan, Runs()
    for seed in map(str, seeds):
        pair = gather([folder / FEDERATION / seed, folder / "baselines" / seed], labels=(FEDERATION, "of"))
        for label, found in pair.items():
            runs.setdefault(label.removeprefix("of/"), {}).update(found)
    return runs


def mean_over_tasks(results: list[dict[str, Any]], measure: str) -> list[float]:
    """The mean over tasks of the per-site mean, for each seed."""
    return [mean(task["per_site_mean"][measure] for task in result["tasks"].values()) for result in results]
