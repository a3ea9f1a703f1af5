"""Is a severity learnt better as ordered classes? `python -m experiments.ordinal DATA` writes docs/ordinal.md.

On the validation rows of the heart federation, seeds of the choice of defaults; no test row is looked at.
"""

import logging
import sys
import tempfile
import tomllib
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.config import find_sites
from client.data.table import load_table
from client.predict import predict_scores
from client.site_rows import VALIDATION
from common.files import read_bytes, read_plan, write_atomic
from common.intervals import over_splits
from common.metrics import auroc
from common.model_file import ModelFile
from common.ordinal import level, level_metrics, level_sums
from common.plan import Plan, plan_from_dict
from common.scores import exact_metrics, task_columns
from common.tally import sigmoid
from experiments.commit import ROOT, commit
from experiments.defaults import JUDGED_PER_TRAINED
from experiments.plainly import plainly
from experiments.simulate import simulate
from server.result import MODEL

TASK, SITES, CLASSES = "severity", "fed_heart", [0, 1, 2, 3, 4]
VARIANTS: dict[str, dict[str, Any]] = {
    "binary": {},
    "multiclass": {"kind": "multiclass", "classes": CLASSES, "positive_when": None},
    "ordinal": {"kind": "ordinal", "classes": CLASSES, "positive_when": None},
}
MEASURES = {
    "grade2": "AUROC of grade 2 and more",
    "others": "mean AUROC of the other tasks",
    "mae": "mean absolute error of the grade",
    "kappa": "kappa, quadratic",
    "rps": "ranked probability score",
}
_HEAD = """# Ordered classes

Written by `python -m experiments.ordinal DATA`; do not edit by hand. The severity of coronary disease, 0 to 4, learnt
by the heart federation (`examples/heart.toml`, plain sums) in three ways: as yes or no (grade 2 and more, as the
example has it), as several classes without an order, and as ordered ones. **Validation rows** of all sites together,
mean over seeds {seeds}, with the 95 % interval over splits; the last column is paired.

Runs of commit `{commit}`.
"""


def plan_of(variant: str, seed: int) -> Plan:
    """The example with its severity task as `variant` has it."""
    content = read_plan(ROOT / "examples" / "heart.toml").model_dump(mode="json")
    content["tasks"] = [task | (VARIANTS[variant] if task["name"] == TASK else {}) for task in content["tasks"]]
    content |= {"seeds": {"split": seed, "training": seed}}
    content["aggregation"] |= {"secure": False, "absent_members": None}
    return plan_from_dict(content, source="heart.toml")


def measured(plan: Plan, data: Path) -> dict[str, float]:
    """Measure -> value on the validation rows, for those that the variant has."""
    sites = find_sites(data / SITES)
    with tempfile.TemporaryDirectory() as folder:
        simulate(plan, sites, Path(folder) / "run")
        model = ModelFile.from_bytes(read_bytes(Path(folder) / "run" / MODEL), source=MODEL)
    tables = [load_table(site, plan) for site in sites]
    features = np.concatenate([table.features[table.split == VALIDATION] for table in tables])
    labels = np.concatenate([table.labels[table.split == VALIDATION] for table in tables])
    scores, areas, found = predict_scores(model, features), [], {}
    for index, (task, columns) in enumerate(zip(plan.tasks, task_columns(plan), strict=True)):
        if task.name == TASK:
            found = _of_severity(scores[:, columns], labels[:, index], task.kind)
        else:
            areas.append(exact_metrics(scores[:, columns], labels[:, index], task)["auroc"])
    return found | {"others": mean(areas)}


def _of_severity(scores: NDArray[np.float32], labels: NDArray[np.float32], kind: str) -> dict[str, float]:
    known = ~np.isnan(labels)
    scores, truth = scores[known], labels[known]
    if kind == "binary":
        return {"grade2": float(auroc(scores[:, 0], truth == 1.0) or np.nan)}
    beyond = sigmoid(scores)
    if kind == "multiclass":
        beyond = beyond[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    cuts = len(CLASSES) - 1
    sums = level_sums(level(beyond - 0.5), truth.astype(np.int64), cuts)
    metrics = level_metrics(sums, rows=len(truth), cuts=cuts)
    rps = ((beyond - (truth[:, None] > np.arange(cuts))) ** 2).sum(axis=1).mean()
    area = auroc(beyond[:, 1].astype(np.float32), truth >= 2)
    return {"grade2": float(area or np.nan), "mae": metrics["mae"], "kappa": metrics["kappa"], "rps": float(rps)}


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """variant -> one result for each seed, as Markdown."""
    lines = [["measure", *VARIANTS, "ordinal minus multiclass"], ["---"] * (2 + len(VARIANTS))]
    for measure, words in MEASURES.items():
        values = {name: [each[measure] for each in results if measure in each] for name, results in found.items()}
        cells = [_interval(values[name], "") if values[name] else "" for name in VARIANTS]
        gaps = [a - b for a, b in zip(values["ordinal"], values["multiclass"], strict=True)]
        lines.append([words, *cells, _interval(gaps, "+")])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _interval(values: list[float], sign: str) -> str:
    found = over_splits(values, JUDGED_PER_TRAINED)
    low, high = found.get("low", found["mean"]), found.get("high", found["mean"])
    return f"{found['mean']:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def main(data: Path) -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    seeds = tomllib.loads((ROOT / "examples" / "defaults.toml").read_text())["seeds"]
    seeds = [*seeds, *range(max(seeds) + 1, seeds[0] + 5)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for seed in seeds:
        for name in VARIANTS:
            found[name].append(measured(plan_of(name, seed), data))
            print(seed, name, {key: round(value, 4) for key, value in found[name][-1].items()}, flush=True)
    text = _HEAD.format(seeds=", ".join(map(str, seeds)), commit=commit())
    write_atomic(ROOT / "docs" / "ordinal.md", f"{text}\n{table(found)}\n".encode())


if __name__ == "__main__":
    plainly(lambda: main(Path(sys.argv[1])))
