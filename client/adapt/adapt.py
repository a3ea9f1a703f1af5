"""Add a task to a trained model from a site's own labels: a model file, and what it was worth."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from client.adapt.compare import METHODS, Tell, compared, judged, measure_of, shares
from client.adapt.draws import LEAST_OF_A_CLASS, source, strata
from client.adapt.material import Index, Material
from client.adapt.methods import Learnt
from client.adapt.task import extended
from client.config import SiteConfig
from client.data.table import load_table
from client.site_rows import TEST, TRAIN
from common.errors import DataError, ModelFileError
from common.model import Layout
from common.model_file import Adapted, ModelFile
from common.plan import Plan

FROZEN, MOVED, *OTHERS = METHODS
SCHEMA = "consilium/adapt/1"
MOST_LABELS = 5_000  # beyond this the exact fit takes long, and a head gains little


@dataclass(frozen=True)
class Trained:
    """A model file that was opened. source: where it is. digest: SHA-256 of its bytes, not encrypted."""

    model: ModelFile
    source: Path
    digest: str

    @staticmethod
    def of(data: bytes, source: Path) -> "Trained":
        return Trained(ModelFile.from_bytes(data, source=str(source)), source, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class Outcome:
    """model: with the new task. report: what adapt.json holds."""

    model: ModelFile
    report: dict[str, Any]


def adapt(
    trained: Trained,
    site: SiteConfig,
    task: dict[str, Any],
    *,
    source: str,
    unfreeze: bool = False,
    sizes: Sequence[int] = (),
    draws: int = 10,
    seed: int = 0,
    tell: Tell = lambda text: None,
    warn: Tell = lambda text: None,
) -> Outcome:
    """The model with `task`, learnt from all of the site's training rows, and its report.

    task: an entry of [[tasks]]; source: the file it is from, for messages. sizes: how many labels are drawn for the
    comparison, `draws` times each; empty for none. warn: told what looks like a slip in the tables.
    Raises PlanError for the task, ModelFileError for a model without a trained encoder, DataError for the table or for
    too few labels.
    """
    plan = extended(trained.model.plan, task, source=source, left_out=trained.model.left_out)
    material = material_of(trained.model, plan, site, warn)
    method = MOVED if unfreeze else FROZEN
    rows = used_rows(material, seed)
    learnt = METHODS[method](material, rows, seed)
    methods = [method, *([FROZEN] if unfreeze else []), *OTHERS]
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "task": material.task.name,
        "kind": material.task.kind,
        "description": material.task.description,
        "unit": material.task.unit,
        "measure": measure_of(material.task),
        "site": site.name,
        "encoder": "moved" if unfreeze else "frozen",
        "hours": material.plan.hours,
        "model_sha256": trained.digest,
        "model_plan_hash": trained.model.plan.hash,
        "plan_hash": material.plan.hash,
        "rows": shares(material) | {"used": len(rows)},
        "settings": learnt.settings,
        "draws": draws,
        "seed": seed,
        "sizes": [],
    }
    if (reason := _unjudged(material)) is None:
        report["all_labels"] = judged(material, learnt)
        report["sizes"] = compared(material, sizes, draws=draws, seed=seed, methods=methods, tell=tell)
    else:
        report["not_judged"] = reason
    return Outcome(_joined(trained, material, learnt, unfreeze, labels=len(rows)), report)


def used_rows(material: Material, seed: int) -> Index:
    """The labelled training rows, or MOST_LABELS of them at random."""
    rows = material.labelled
    if len(rows) <= MOST_LABELS:
        return rows
    return np.sort(source(seed, len(rows)).permutation(rows)[:MOST_LABELS])


def material_of(model: ModelFile, plan: Plan, site: SiteConfig, warn: Tell = lambda text: None) -> Material:
    """The site's rows for the last task of `plan`. Raises DataError where there are too few labels to learn from."""
    task = plan.tasks[-1]
    if len(model.left_out) == len(model.plan.tasks) and model.plan.model.local:
        raise ModelFileError(
            "the model's heads stay at the hospitals (model.local); adapt the one in a hospital's folder."
        )
    if len(model.left_out) == len(model.plan.tasks):
        raise ModelFileError("the model has no trained task, and so no encoder to build on.")
    table = load_table(site, plan)
    for sentence in table.report.warnings:
        warn(sentence)
    if task.label in table.report.absent_labels:
        raise DataError(
            f"{site.source}: no table has the column {task.label!r}, the label of task {task.name!r}; correct 'label' "
            "in the task."
        )
    train, test = np.flatnonzero(table.split == TRAIN), np.flatnonzero(table.split == TEST)
    material = Material(model, plan, table.features, table.hours, table.labels[:, -1], table.patients, train, test)
    _check_labels(material, site)
    return material


def _check_labels(material: Material, site: SiteConfig) -> None:
    task, rows = material.task, material.labelled
    patients = material.patients[rows]
    if task.kind == "regression":
        found, names = {"labels": len(np.unique(patients))}, ["labels"]
    else:
        classes = strata(task, material.labels[rows])
        codes = [str(code) for code in task.classes] if task.classes else ["negative", "positive"]
        found = {code: len(np.unique(patients[classes == number])) for number, code in enumerate(codes)}
        names = codes
    least = 2 * LEAST_OF_A_CLASS if task.kind == "regression" else LEAST_OF_A_CLASS
    for name in names:
        if found[name] < least:
            listed = ", ".join(f"{each} {count}" for each, count in found.items())
            raise DataError(
                f"{site.source}: too few labels for task {task.name!r}: the training patients of each class are "
                f"{listed}, and at least {least} each are needed."
            )


def _unjudged(material: Material) -> str | None:
    """Why the held-out rows cannot judge the task, or None."""
    labels = material.labels[material.judged]
    if len(labels) == 0:
        return "no held-out row has a label"
    if material.task.kind != "regression" and len(np.unique(labels)) < 2:
        return "the held-out rows are all of one class"
    return None


def _joined(trained: Trained, material: Material, learnt: Learnt, moved: bool, *, labels: int) -> ModelFile:
    """The trained model and the new head in one. With another encoder the former heads are of no use: left out."""
    if learnt.parameters is None:
        raise ValueError("only a network can be joined")
    model, layout = trained.model, Layout(material.plan)
    before = Layout(model.plan).split(model.parameters)
    own = Layout(material.solo).split(learnt.parameters)
    vector = np.zeros(layout.parameters, dtype=np.float32)
    for name, part in layout.split(vector).items():
        of_a_task = name.startswith(("heads.", "linear."))
        part[:] = np.concatenate([before[name], own[name]]) if of_a_task else own[name]
    scale = model.normaliser
    ends = {name: getattr(learnt.scale, name) for name in ("label_mean", "label_std", "task_available")}
    added = {name: np.concatenate([getattr(scale, name), end]) for name, end in ends.items()}
    names = tuple(task.name for task in model.plan.tasks)
    history = Adapted(
        task=material.task.name,
        model=trained.digest,
        plan_hash=model.plan.hash,
        encoder="moved" if moved else "frozen",
        labels=labels,
    )
    return ModelFile(
        material.plan,
        vector,
        replace(scale, **added),
        names if moved else model.left_out,
        (*model.adapted, history),
    )
