"""The whole assessment of one site: candidates, choice, calibration, sets, and what they came to on the test rows."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.benefit.alone import train_alone
from client.benefit.answers import TaskOutput
from client.benefit.bands import bands_of
from client.benefit.calibrate import calibrator_of
from client.benefit.candidates import FEDERATED, KINDS, Candidates, scores
from client.benefit.choice import Choice, choose
from client.benefit.conformal import fit_conformal
from client.benefit.fine_tune import fine_tune
from client.benefit.outlier import Detector, fit_detector, missing
from client.benefit.outputs import SiteOutputs
from client.benefit.report import TestRows, task_report
from client.benefit.site import Finished
from client.benefit.words import sentences
from client.site_rows import TEST, TRAIN, VALIDATION, SiteRows
from common.errors import Refusal
from common.model_file import ModelFile
from common.scores import task_columns

Float32 = NDArray[np.float32]
_UNDECIDED = "so nothing is chosen, calibrated or bounded here: every task keeps the federated model."
NO_VALIDATION = f"The plan keeps no validation rows apart, {_UNDECIDED}"
NONE_HERE = f"The plan keeps validation rows apart and this hospital has none, {_UNDECIDED}"


@dataclass(frozen=True)
class _Part:
    """Rows of one set: their indices, and candidate -> (n, outputs) scores."""

    index: NDArray[np.int64]
    scores: dict[str, Float32]


def assess(finished: Finished, *, least: int) -> tuple[dict[str, Any], SiteOutputs]:
    """The report (docs/benefit.md) and what predictions need. least: patients in the smallest group that is shown.

    Test rows are looked at only after everything else is decided.
    """
    rows, received = finished.rows, finished.received
    candidates, notes = _candidates(rows, received)
    detector, labels = _detector(rows, received), rows.labels(received.normaliser)
    validation = _part(rows, candidates, VALIDATION)
    decided: dict[str, tuple[Choice, TaskOutput]] = {}
    for number, (task, columns) in enumerate(zip(received.plan.tasks, task_columns(received.plan), strict=True)):
        if task.name not in received.left_out and task.kind in KINDS:
            own = {name: each[:, columns] for name, each in validation.scores.items()}
            decided[task.name] = _decide(rows, number, own, labels[:, number], validation.index)
    tasks = {name: output for name, (_, output) in decided.items()}
    further = {name: model for name, model in candidates.models.items() if name != FEDERATED}
    outputs = SiteOutputs(finished.digest, further, detector, tasks)
    report = _report(finished, candidates, decided, detector, least=least, notes=notes)
    return report, outputs


def _candidates(rows: SiteRows, received: ModelFile) -> tuple[Candidates, list[str]]:
    notes = [f"The federation left {name} out, so there is nothing to compare." for name in received.left_out]
    notes += [f"{t.name} is {t.kind}, of which nothing is said here." for t in rows.plan.tasks if t.kind not in KINDS]
    tuned, epochs = None, {}
    if _validates(rows):
        tuned, epochs = fine_tune(received, rows)
    else:
        notes.append(NONE_HERE if rows.plan.split.validates else NO_VALIDATION)
    try:
        local = _enough(train_alone(rows), rows)
    except Refusal as error:
        local = None
        notes.append(f"There is no local model: {error}")
    return Candidates(received, tuned, local, epochs), notes


def _validates(rows: SiteRows) -> bool:
    return bool((rows.table.split == VALIDATION).any())


def _enough(local: ModelFile, rows: SiteRows) -> ModelFile:
    """Without the tasks that have too few training rows to be learnt alone, as in `consilium baselines`."""
    counts = (~np.isnan(rows.table.labels[rows.table.split == TRAIN])).sum(axis=0)
    few = [t.name for t, n in zip(rows.plan.tasks, counts, strict=True) if n < rows.plan.evaluation.min_train_rows]
    return replace(local, left_out=tuple(t.name for t in local.plan.tasks if t.name in (*few, *local.left_out)))


def _part(rows: SiteRows, candidates: Candidates, part: int) -> _Part:
    index = rows.rows(part)
    if part == VALIDATION and not _validates(rows):
        index = index[:0]  # training rows are never validation
    return _Part(index, {name: scores(model, rows, index) for name, model in candidates.models.items()})


def _detector(rows: SiteRows, received: ModelFile) -> Detector:
    train = rows.rows(TRAIN)
    return fit_detector(_inputs(rows, received, train), missing(rows.table.features[train]), rows.table.patients[train])


def _inputs(rows: SiteRows, model: ModelFile, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, inputs) of the chosen rows, as the network sees them."""
    return rows.inputs(model.normaliser).cpu().numpy()[index].astype(np.float64)


def _decide(
    rows: SiteRows, number: int, own: dict[str, Float32], labels: Float32, index: NDArray[np.int64]
) -> tuple[Choice, TaskOutput]:
    """One task, from its validation rows (`index`), and its prevalence in training and validation rows."""
    task, patients = rows.plan.tasks[number], rows.table.patients[index]
    truth = labels[index]
    choice = choose(task, own, truth, patients, seed=rows.plan.seeds.training)
    known = ~np.isnan(truth)
    chosen = own[choice.model][known]
    calibrator = calibrator_of(task, chosen, truth[known], patients[known])
    conformal = fit_conformal(task, calibrator, chosen, truth[known], patients[known])
    bands = None
    if task.kind == "binary":
        seen = labels[np.concatenate([rows.rows(TRAIN), index])]
        bands = bands_of(seen[~np.isnan(seen)])
    return choice, TaskOutput(choice.model, calibrator, conformal, bands)


def _report(
    finished: Finished,
    candidates: Candidates,
    decided: dict[str, tuple[Choice, TaskOutput]],
    detector: Detector,
    *,
    least: int,
    notes: list[str],
) -> dict[str, Any]:
    rows, received = finished.rows, finished.received
    plan, part = received.plan, _part(rows, candidates, TEST)
    table, labels = rows.table, rows.labels(received.normaliser)
    trained = (~np.isnan(labels[rows.rows(TRAIN)])).sum(axis=0)
    inputs, gaps = _inputs(rows, received, part.index), missing(table.features[part.index])
    tasks: dict[str, Any] = {}
    for number, (task, columns) in enumerate(zip(plan.tasks, task_columns(plan), strict=True)):
        if task.name not in decided:
            continue
        known = ~np.isnan(labels[part.index, number])
        test = TestRows(
            task,
            {name: own[known, columns] for name, own in part.scores.items()},
            labels[part.index[known], number],
            table.patients[part.index[known]],
            table.features[part.index[known]],
            detector.strange(inputs[known]),
            detector.gaps(gaps[known]),
        )
        choice, output = decided[task.name]
        entry = task_report(plan, test, output, least=least)
        entry["choice"] = {"model": choice.model, "why": choice.why, "gains": _plain(choice)}
        entry["fine_tuning_epochs"] = candidates.epochs.get(task.name, 0)
        entry["training_rows"] = int(trained[number])
        tasks[task.name] = entry
    return {
        "schema": "consilium/benefit/1",
        "site": rows.config.name,
        "federation": plan.federation.name,
        "plan_hash": plan.hash,
        "model_sha256": finished.digest,
        "patients": {
            name: len(np.unique(table.patients[table.split == part]))
            for name, part in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST))
        },
        "notes": notes,
        "left_out": list(received.left_out),
        "words": sentences(tasks),
        "tasks": tasks,
    }


def _plain(choice: Choice) -> dict[str, Any]:
    return {name: asdict(gain) for name, gain in choice.gains.items()}
