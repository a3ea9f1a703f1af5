"""A model judged at one hospital, or at each: the per-site mean of docs/data.md, on test rows or on validation rows."""

from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from client.config import SiteConfig
from client.data.site_table import SiteTable
from client.predict import predict_scores
from client.site_rows import VALIDATION
from common.evaluation import Evaluation
from common.files import read_bytes
from common.hourly import judged as rows_of
from common.hourly import with_hours
from common.model_file import ModelFile
from common.plan import Plan
from common.scores import exact_metrics
from experiments.baselines.tables import load_tables, train_counts


def judged(model: Path, plan: Plan, table: SiteTable, part: int) -> dict[str, Any]:
    """Task -> metrics on the hospital's rows, and whether they count by the plan's rules. part: of client.site_rows."""
    loaded = ModelFile.from_bytes(read_bytes(model), source=str(model))
    rows = table.split == part
    scores, trained = predict_scores(loaded, table.features[rows], table.hours[rows]), train_counts(table)
    evaluation = Evaluation(plan, plan.evaluation.histogram_bins, True)
    labels = with_hours(table.labels[rows], table.hour_labels[rows])
    result: dict[str, Any] = {}
    for index, task in enumerate(plan.tasks):
        if task.name in loaded.left_out:
            continue
        own = rows_of(plan, index, scores, labels)
        metrics = exact_metrics(own.scores, own.labels, task, weights=own.weights)
        result[task.name] = metrics | {"counted": evaluation.counted(metrics, int(trained[index]))}
    return result


def validation_auroc(model: Path, plan: Plan, configs: Iterable[SiteConfig]) -> float:
    """Mean over tasks of the mean AUROC over sites on their validation rows; sites that do not count left out."""
    found = [judged(model, plan, table, VALIDATION) for table in load_tables(plan, configs)]
    areas: dict[str, list[float]] = {}
    for site in found:
        for name, metrics in site.items():
            if metrics["counted"] and "auroc" in metrics:
                areas.setdefault(name, []).append(metrics["auroc"])
    return mean(mean(values) for values in areas.values())
