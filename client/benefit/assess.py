"""The whole assessment of one site: candidates, choice, calibration, sets, and what they came to on the test rows."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.benefit.alone import train_alone
from client.benefit.answers import TaskOutput
from client.benefit.bands import bands_of
from client.benefit.calibrate import calibrator_of
from client.benefit.candidates import FEDERATED, Candidates, scores
from client.benefit.choice import Choice, choose
from client.benefit.conformal import fit_conformal
from client.benefit.fine_tune import fine_tune
from client.benefit.labelled import labelled
from client.benefit.outlier import Detector, fit_detector, looked_at, missing
from client.benefit.outputs import SiteOutputs
from client.benefit.report import TestRows, task_report
from client.benefit.site import Finished
from client.benefit.words import sentences
from client.site_rows import TEST, TRAIN, VALIDATION, SiteRows
from common.errors import Refusal
from common.model.code import Columns
from common.model_file import ModelFile

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
_UNDECIDED = "so nothing is chosen, calibrated or bounded here: every task keeps the federated model."
NO_VALIDATION = f"The plan keeps no validation rows apart, {_UNDECIDED}"
NONE_HERE = f"The plan keeps validation rows apart and this hospital has none, {_UNDECIDED}"


@dataclass(frozen=True)
class _Part:
    """Rows of one set: their indices, and candidate -> (n, outputs + K H) scores."""

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
    for number, task in enumerate(received.plan.tasks):
        if task.name not in received.left_out:
            decided[task.name] = _decide(rows, number, validation, labels)
    tasks = {name: output for name, (_, output) in decided.items()}
    further = {name: model for name, model in candidates.models.items() if name != FEDERATED}
    outputs = SiteOutputs(finished.digest, further, detector, tasks)
    report = _report(finished, candidates, decided, detector, least=least, notes=notes)
    return report, outputs


def _candidates(rows: SiteRows, received: ModelFile) -> tuple[Candidates, list[str]]:
    notes = [f"The federation left {name} out, so there is nothing to compare." for name in received.left_out]
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
    hourly = len(received.plan.hour_features)
    return fit_detector(*_looked_at(rows, received, train), rows.table.patients[train], hourly=hourly)


def _looked_at(rows: SiteRows, model: ModelFile, index: NDArray[np.int64]) -> tuple[Float64, Float64]:
    """What the detector sees of the chosen rows: (n, d) of `looked_at`, and (n,) how much is missing."""
    inputs, table = rows.inputs(model.normaliser).cpu().numpy()[index], rows.table
    return looked_at(inputs, Columns.of(model.plan)), missing(table.features[index], table.hours[index])


def _decide(rows: SiteRows, number: int, part: _Part, labels: Float32) -> tuple[Choice, TaskOutput]:
    """One task, from its validation rows (`part`), and its prevalence in training and validation rows.

    labels: (rows, T + K H) of the whole table.
    """
    task, seed = rows.plan.tasks[number], rows.plan.seeds.training
    every = labelled(rows.plan, number, part.scores, labels[part.index], rows.table.patients[part.index])
    choice = choose(every, seed=seed)
    one = every.one_each(seed=seed)
    chosen = one.scores[choice.model]
    calibrator = calibrator_of(task, chosen, one.labels, one.patients)
    conformal = fit_conformal(task, calibrator, chosen, one.labels, one.patients)
    bands = None
    if task.yes_or_no:
        seen = labels[np.concatenate([rows.rows(TRAIN), part.index]), number]
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
    trained = rows.labelled(labels)
    inputs, gaps = _looked_at(rows, received, part.index)
    strange, empty, far = detector.strange(inputs), detector.gaps(gaps), detector.unlikeness(inputs)
    tasks: dict[str, Any] = {}
    for number, task in enumerate(plan.tasks):
        if task.name not in decided:
            continue
        every = labelled(plan, number, part.scores, labels[part.index], table.patients[part.index])
        one = every.one_each(seed=plan.seeds.training)
        features = table.features[part.index]
        test = TestRows(every, one, features[one.at], strange[one.at], empty[one.at], far[one.at])
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
