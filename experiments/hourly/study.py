"""What is run for docs/hourly.md: one plan with hours under each encoder; a finished run is not run again.

Sums are in the open: the same model to within the resolution of secure ones (tests/server/test_hourly_runs.py), in less
time.
"""

import json
import shutil
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.config import SiteConfig, find_sites, with_hours
from common.errors import RunError
from common.files import read_plan
from common.plan import Plan
from experiments.baselines import run_baselines
from experiments.baselines.plans import in_the_open
from experiments.baselines.run import SUMMARY
from experiments.commit import ROOT
from experiments.compare.gather import Runs, gather
from experiments.simulate import simulate

PLAN, SITES, HOURS = "eicu-hourly.toml", "eicu_demo/by_site_group", "eicu_demo/hourly_vitals_0_48h.csv.gz"
ENCODERS = ("tcn", "lstm", "gru", "attention", "mlp")
FEDERATED, POOLED = "federated", "pooled"
NETWORKS = ("single_task", "multi_label")
LEARNERS = (
    "logistic_regression_pooled",
    "logistic_regression_tuned_pooled",
    "gradient_boosting_pooled",
    "svm_pooled",
)
_ANY = "summaries"  # what knows no encoder

Run = tuple[str, str]  # encoder, or _ANY; federated or the baseline's name
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """plan_file: of the federation. changes: further `key=value` of the plan. work: where runs are kept."""

    plan_file: Path
    sites: Sequence[SiteConfig]
    work: Path
    changes: tuple[str, ...] = ()

    def plan(self, encoder: str, seed: int) -> Plan:
        """The plan with this encoder, both seeds and plain sums."""
        chosen = () if encoder == _ANY else (f"model.encoder={encoder}",)
        seeds = (f"seeds.split={seed}", f"seeds.training={seed}")
        return in_the_open(read_plan(self.plan_file, overrides=(*seeds, *chosen, *self.changes)))

    def run(self, run: Run, seed: int, tell: Tell) -> Path:
        """The folder of one run, which is made if it is not there. Raises RunError if it is of another plan."""
        encoder, method = run
        plan, out = self.plan(encoder, seed), self.work / encoder / method / str(seed)
        if method == FEDERATED:
            simulate(plan, self.sites, out, resume=True)
        elif not (out / SUMMARY).exists():
            shutil.rmtree(out, ignore_errors=True)  # what was cut off: its summary comes last
            run_baselines(plan, self.sites, out, only=[method])
        elif json.loads((out / SUMMARY).read_bytes())["plan_hash"] != plan.hash:
            raise RunError(f"{out}: was made under another plan; choose another --work.")
        tell(f"seed {seed}, {label(run)}")
        return out

    def runs(self, wanted: Iterable[Run], seeds: Sequence[int], tell: Tell) -> Runs:
        """label -> seed -> result of each run on each seed, all of them on the same rows."""
        places = [(label(run), self.run(run, seed, tell)) for seed in seeds for run in wanted]
        return gather([folder for _, folder in places], labels=[name for name, _ in places])


def label(run: Run) -> str:
    """What a run is called in tables."""
    encoder, method = run
    return method if encoder == _ANY else f"{encoder} {method}"


def encoders() -> list[Run]:
    """The network with each encoder, federated and pooled."""
    return [(encoder, method) for encoder in ENCODERS for method in (FEDERATED, POOLED)]


def article() -> list[Run]:
    """What the article on multi-task learning compares with, for each encoder and on summaries."""
    networks = [(encoder, method) for encoder in ENCODERS for method in (POOLED, *NETWORKS)]
    return [*networks, *((_ANY, method) for method in LEARNERS)]


def fresh_seeds() -> list[int]:
    """Splits on which nothing was looked at while defaults were chosen."""
    content = tomllib.loads((ROOT / "examples" / "results.toml").read_text())
    return list(content["fresh_seeds"])


def on_public_data(data: Path, work: Path, changes: Sequence[str] = ()) -> Study:
    """The study of examples/eicu-hourly.toml. data: the folder of docs/data.md."""
    sites = with_hours(find_sites(data / SITES), [data / HOURS])
    return Study(ROOT / "examples" / PLAN, sites, work, tuple(changes))
