"""One run of the study: an arm, at an epsilon, with settings, on the split of a seed; and its quality."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from client.config import SiteConfig, SiteData, SiteRules, find_sites
from client.data.table import SiteTable, load_table
from client.predict import predict_scores
from common.evaluation import Evaluation
from common.files import read_bytes, read_plan, write_atomic
from common.model_file import ModelFile
from common.plan import Plan
from common.scores import exact_metrics, task_columns
from experiments.results.study import ROOT
from experiments.simulate import simulate

NONE = "no noise"
Federation = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """One way of training. pooled: all tables at one site."""

    title: str
    set: tuple[str, ...] = ()
    pooled: bool = False


@dataclass(frozen=True)
class Job:
    """epsilon: None without noise, where the plan's own settings stay. rows: the set that the quality is told of."""

    federation: Federation
    arm: Arm
    epsilon: float | None
    delta: float
    settings: tuple[str, ...]
    seed: int
    rows: int

    @property
    def folder(self) -> Path:
        """Where the run lies in the study's folder; it does not depend on the rows."""
        noise = "none" if self.epsilon is None else f"{self.epsilon:g}"
        told = "-".join(setting.replace("training.", "") for setting in self.settings) or "own"
        return Path(self.federation["name"], self.arm.title.replace(" ", "-"), noise, told, str(self.seed))

    def overrides(self) -> tuple[str, ...]:
        """What differs from the federation's plan."""
        seeds = (f"seeds.split={self.seed}", f"seeds.training={self.seed}")
        if self.epsilon is None:
            return seeds
        sizes = {"PATIENTS": "patients", "SITE": "site_patients", "COUNT": "site_count"}
        told = self.arm.set
        for word, key in sizes.items():
            told = tuple(setting.replace(f"={word}", f"={self.federation[key]}") for setting in told)
        privacy = ('privacy.unit="patient"', f"privacy.target_epsilon={self.epsilon}", f"privacy.delta={self.delta}")
        return (*seeds, *privacy, *told, *self.settings)

    def quality(self, data: Path, work: Path) -> float:
        """The per-site mean AUROC of the model that comes out. What is finished in `work` is not run again."""
        out = work / self.folder
        known = out / f"quality-{self.rows}.json"
        plan = read_plan(ROOT / "examples" / self.federation["plan"], overrides=self.overrides())
        if known.exists():
            told = json.loads(read_bytes(known))
            if told["plan"] == plan.hash:
                return float(told["auroc"])
        configs = find_sites(data / self.federation["sites"])
        simulate(plan, [together(configs)] if self.arm.pooled else configs, out, resume=(out / "plan.json").exists())
        model = ModelFile.from_bytes(read_bytes(out / "model.safetensors"), source=str(out))
        found = per_site_mean(model, [load_table(config, plan) for config in configs], plan, rows=self.rows)
        write_atomic(known, json.dumps({"plan": plan.hash, "auroc": found}).encode())
        return found


def together(configs: Sequence[SiteConfig]) -> SiteConfig:
    """One site that holds the tables of all."""
    files = tuple(str(file) for config in configs for file in config.files)
    return SiteConfig(site=SiteRules(name="pooled"), data=SiteData(files=files))


def per_site_mean(model: ModelFile, tables: Sequence[SiteTable], plan: Plan, *, rows: int) -> float:
    """Mean over tasks of the mean over sites of the AUROC on a site's own rows of that set, for sites that count."""
    judge, found = Evaluation(plan, plan.evaluation.histogram_bins, True), []
    scores = [predict_scores(model, table.features[table.split == rows]) for table in tables]
    for index, (task, columns) in enumerate(zip(plan.tasks, task_columns(plan), strict=True)):
        areas = []
        for table, own in zip(tables, scores, strict=True):
            metrics = exact_metrics(own[:, columns], table.labels[table.split == rows, index], task)
            trained = int((~np.isnan(table.labels[table.split == 0, index])).sum())
            if judge.counted(metrics, trained) and "auroc" in metrics:
                areas.append(metrics["auroc"])
        found += [mean(areas)] if areas else []
    return mean(found)
