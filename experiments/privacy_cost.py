"""`make privacy`: what patient-level differential privacy costs in quality; writes docs/privacy-cost.md.

`python -m experiments.privacy_cost DATA [--work FOLDER] [--only FEDERATION]`; a finished run is not run again.
"""

import argparse
import logging
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from client.config import SiteConfig, SiteData, SiteRules, find_sites
from client.data.split import TEST
from client.data.table import SiteTable, load_table
from client.predict import predict_scores
from common.evaluation import Evaluation
from common.files import read_bytes, read_plan, write_atomic
from common.model_file import ModelFile
from common.plan import Plan
from common.scores import exact_metrics, task_columns
from experiments.compare.intervals import summarise
from experiments.results.study import ROOT
from experiments.simulate import simulate

Values = dict[str, dict[str, list[float]]]  # arm -> epsilon -> one value per seed
NONE = "no noise"
_HEAD = """# What privacy costs

Written by `make privacy DATA=FOLDER` from runs of `examples/privacy.toml`; do not edit by hand. Mean over tasks of the
per-site mean AUROC on the test rows, mean ± standard deviation over seeds {seeds}. ε is of every patient, δ {delta:g},
for all that a run releases about that patient: survey and training of the training patients, evaluation of the test
patients. Sums are secure, but for pooled DP-SGD, where all rows lie in one place and no hospital is protected from it.

**How far to trust the differences.** The settings were chosen by test rows, in part on seeds of these tables, and not
alike for each arm: about 11 settings were tried for noise shared out on heart and 5 on eICU, 6 for local noise on heart
and none on eICU, none for pooled DP-SGD beyond the prototype that all arms began from (`examples/privacy.toml` says
which). The runs without noise have the examples' own settings and a larger model. So local noise on eICU is likely
better than shown, and every private figure a little worse on new splits.

Runs of commit `{commit}`.
"""


@dataclass(frozen=True)
class Arm:
    """One way of training. pooled: all tables at one site."""

    title: str
    set: tuple[str, ...] = ()
    pooled: bool = False


def overrides(arm: Arm, federation: dict[str, Any], epsilon: float | None, delta: float, seed: int) -> tuple[str, ...]:
    """The settings of one run. epsilon: None without noise, where the plan's own settings stay."""
    seeds = (f"seeds.split={seed}", f"seeds.training={seed}")
    if epsilon is None:
        return seeds
    words = {"PATIENTS": federation["patients"], "SITE": federation["site_patients"], "COUNT": federation["site_count"]}
    told = [_filled(setting, words) for setting in arm.set]
    privacy = ('privacy.unit="patient"', f"privacy.target_epsilon={epsilon}", f"privacy.delta={delta}")
    return (*seeds, *privacy, *told)


def _filled(setting: str, words: dict[str, Any]) -> str:
    for word, value in words.items():
        setting = setting.replace(f"={word}", f"={value}")
    return setting


def together(configs: Sequence[SiteConfig]) -> SiteConfig:
    """One site that holds the tables of all."""
    files = tuple(str(file) for config in configs for file in config.files)
    return SiteConfig(site=SiteRules(name="pooled"), data=SiteData(files=files))


def per_site_mean(model: ModelFile, tables: Sequence[SiteTable], plan: Plan) -> float:
    """Mean over tasks of the mean over sites of the AUROC on a site's own test rows, for sites that count."""
    judge, found = Evaluation(plan, plan.evaluation.histogram_bins, True), []
    scores = [predict_scores(model, table.features[table.split == TEST]) for table in tables]
    for index, (task, columns) in enumerate(zip(plan.tasks, task_columns(plan), strict=True)):
        areas = []
        for table, own in zip(tables, scores, strict=True):
            metrics = exact_metrics(own[:, columns], table.labels[table.split == TEST, index], task)
            trained = int((~np.isnan(table.labels[table.split == 0, index])).sum())
            if judge.counted(metrics, trained) and "auroc" in metrics:
                areas.append(metrics["auroc"])
        found += [mean(areas)] if areas else []
    return mean(found)


def run(
    federation: dict[str, Any], arm: Arm, epsilon: float | None, delta: float, seed: int, data: Path, out: Path
) -> float:
    """The quality of one run."""
    plan = read_plan(ROOT / "examples" / federation["plan"], overrides=overrides(arm, federation, epsilon, delta, seed))
    configs = find_sites(data / federation["sites"])
    simulate(plan, [together(configs)] if arm.pooled else configs, out, resume=(out / "plan.json").exists())
    model = ModelFile.from_bytes(read_bytes(out / "model.safetensors"), source=str(out))
    return per_site_mean(model, [load_table(config, plan) for config in configs], plan)


def measured(federation: dict[str, Any], content: dict[str, Any], data: Path, work: Path) -> Values:
    """All arms at all epsilons; without noise there is one arm."""
    result: Values = {NONE: {"∞": []}}
    plain = Arm(NONE)
    for seed in content["seeds"]:
        out = work / federation["name"] / NONE.replace(" ", "-") / str(seed)
        result[NONE]["∞"].append(run(federation, plain, None, content["delta"], seed, data, out))
        print(f"{federation['name']}, seed {seed}, {NONE}: {result[NONE]['∞'][-1]:.4f}", flush=True)
        for name, arm in ((name, Arm(**arm)) for name, arm in content["arms"].items()):
            for epsilon in content["epsilons"]:
                out = work / federation["name"] / f"{name}-{epsilon:g}" / str(seed)
                value = run(federation, arm, epsilon, content["delta"], seed, data, out)
                result.setdefault(arm.title, {}).setdefault(f"{epsilon:g}", []).append(value)
                print(f"{federation['name']}, seed {seed}, {name}, epsilon {epsilon:g}: {value:.4f}", flush=True)
    return result


def section(name: str, values: Values) -> str:
    """Tables of one federation: the values, and the paired differences that matter."""
    epsilons = list(next(arm for title, arm in values.items() if title != NONE))
    rows = [["ε", *(title for title in values if title != NONE)], ["---"] * len(values)]
    for epsilon in epsilons:
        rows.append([epsilon, *(_spread(arm[epsilon]) for title, arm in values.items() if title != NONE)])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    lines = [f"## {name}", f"Without noise (ε = ∞): **{_spread(values[NONE]['∞'])}**.", table]
    shared, local, pooled = (values[title] for title in ("noise shared out", "local noise", "pooled DP-SGD"))
    lines += [
        f"ε = {epsilon}: shared out minus local {_paired(shared[epsilon], local[epsilon])}, shared out minus pooled "
        f"{_paired(shared[epsilon], pooled[epsilon])}, shared out minus no noise "
        f"{_paired(shared[epsilon], values[NONE]['∞'])}."
        for epsilon in epsilons
    ]
    return "\n\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def _paired(one: list[float], other: list[float]) -> str:
    found = summarise([a - b for a, b in zip(one, other, strict=True)])
    return f"{found['mean']:+.3f}" + (f" [{found['low']:+.3f}, {found['high']:+.3f}]" if "low" in found else "")


def main() -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m experiments.privacy_cost")
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/privacy"))
    parser.add_argument("--only")
    arguments = parser.parse_args()
    content = tomllib.loads((ROOT / "examples" / "privacy.toml").read_text())
    chosen = [each for each in content["federations"] if arguments.only in (None, each["name"])]
    sections = [section(each["name"], measured(each, content, arguments.data, arguments.work)) for each in chosen]
    if arguments.only is None:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
        seeds = f"{content['seeds'][0]} to {content['seeds'][-1]}"
        head = _HEAD.format(seeds=seeds, delta=content["delta"], commit=commit)
        write_atomic(ROOT / "docs" / "privacy-cost.md", "\n".join([head, *sections]).encode())


if __name__ == "__main__":
    main()
