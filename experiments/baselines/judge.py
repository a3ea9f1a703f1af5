"""Scores on the test rows -> a result in the schema of docs/result.md, by the federation's own rules and tallies."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.data.table import SiteTable
from client.site_rows import TEST
from common.evaluation import Evaluation, first_edges
from common.hourly import judged
from common.plan import Plan, Task
from common.scores import exact_metrics, scores_of_oracle
from experiments.baselines.tables import labels_of_test, score_columns, train_counts

Float32 = NDArray[np.float32]
_OF_PROBABILITIES = ("brier", "loss")


@dataclass
class Outcome:
    """What a baseline came to.

    scores: site -> (test rows, outputs + K H) float32, see `common.hourly`; NaN where a task has no model.
    unfitted: (site, task) pairs judged by a constant. left_out: task -> why no site has a model for it.
    parameters: numbers in the models that one site needs for all its tasks. seconds: spent on fitting.
    improbable: tasks whose scores are no log-odds, so that nothing that needs a probability is reported.
    """

    scores: dict[str, Float32]
    parameters: int = 0
    seconds: float = 0.0
    unfitted: set[tuple[str, str]] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
    improbable: set[str] = field(default_factory=set)


def judge(name: str, plan: Plan, tables: Sequence[SiteTable], outcome: Outcome) -> dict[str, Any]:
    """The result of baseline `name`. What does not apply to it (clipping, bytes, history) is absent."""
    merged = _merged(plan, tables, outcome)
    tasks: dict[str, Any] = {}
    for index, task in enumerate(plan.tasks):
        if task.name in outcome.left_out:
            continue
        entry = dict(merged[task.name])
        oracle = entry.pop("oracle", {})
        entry |= {f"oracle_{measure}": oracle[measure] for measure in ("auroc", "mae") if measure in oracle}
        entry |= {"kind": task.kind, "description": task.description, "unit": task.unit}
        entry["per_site"] = _per_site(plan, index, tables, outcome)
        tasks[task.name] = _only_what_holds(entry, task, outcome)
    return {
        "schema": "consilium/result/1",
        "federation": plan.federation.name,
        "title": plan.federation.title,
        "baseline": name,
        "plan_hash": plan.hash,
        "seed": plan.seeds.training,
        "seeds": plan.seeds.model_dump(),
        "parameters": outcome.parameters,
        "seconds": round(outcome.seconds, 3),
        "site_count": len(tables),
        "sites": {table.site: _data(table) for table in tables},
        "left_out": {"tasks": outcome.left_out, "features": {}},
        "tasks": tasks,
    }


def judged_labels(plan: Plan, table: SiteTable, scores: Float32) -> Float32:
    """(test rows, T + K H) labels; NaN where there is no score to judge."""
    labels = labels_of_test(table)
    for index, columns in enumerate(score_columns(plan)):
        own = np.append(index, columns[plan.tasks[index].outputs :] + len(plan.tasks) - _outputs(plan))
        labels[np.ix_(np.isnan(scores[:, columns]).any(axis=1), own)] = np.nan
    return labels


def _outputs(plan: Plan) -> int:
    return sum(task.outputs for task in plan.tasks)


def _merged(plan: Plan, tables: Sequence[SiteTable], outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Pooled metrics and per-site means from summed tallies, as a federation's last evaluation."""
    evaluation = Evaluation(plan, plan.evaluation.histogram_bins, True)
    edges = first_edges(evaluation.score_columns, bins=evaluation.bins)
    total = np.zeros(0)
    for _ in range(3):  # each pass spreads the scores more evenly over the bins of the next
        vectors = []
        for table in tables:
            scores = outcome.scores[table.site]
            vector = evaluation.of(
                scores,
                judged_labels(plan, table, scores),
                edges,
                oracle=scores_of_oracle(table.oracle[table.split == TEST], plan),
                train_rows=train_counts(table),
            )
            vectors.append(vector)
        total = reduce(np.add, vectors)
        edges = evaluation.next_edges(edges, total, bins=evaluation.bins)
    return evaluation.pooled(total)


def _per_site(plan: Plan, index: int, tables: Sequence[SiteTable], outcome: Outcome) -> dict[str, Any]:
    """Exact metrics by site; a site without a model for the task is absent."""
    task, columns = plan.tasks[index], score_columns(plan)[index]
    evaluation = Evaluation(plan, plan.evaluation.histogram_bins, True)
    result = {}
    for table in tables:
        scores = outcome.scores[table.site]
        if len(scores) and np.isnan(scores[:, columns]).all():
            continue
        train = int(train_counts(table)[index])
        part = judged(plan, index, scores, labels_of_test(table))
        metrics = exact_metrics(part.scores, part.labels, task, weights=part.weights)
        metrics |= {"train_n": train, "counted": evaluation.counted(metrics, train)}
        if (table.site, task.name) in outcome.unfitted:
            metrics["fitted"] = False
        result[table.site] = metrics
    return result


def _only_what_holds(entry: dict[str, Any], task: Task, outcome: Outcome) -> dict[str, Any]:
    if task.name not in outcome.improbable:
        return entry
    groups = [entry["pooled"], entry.get("per_site_mean", {}), *entry["per_site"].values()]
    for metrics in groups:
        for measure in _OF_PROBABILITIES:
            metrics.pop(measure, None)
    entry.pop("calibration", None)
    return entry


def _data(table: SiteTable) -> dict[str, Any]:
    report = table.report
    missing = {feature.name: feature.missing for feature in (*report.features, *report.hour_features)}
    return {"rows": report.rows, "patients": report.patients, **report.rows_by_set, "missing": missing}
