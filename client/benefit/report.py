"""What the test rows say of one task: the models beside each other, calibration, sets, "cannot say", subgroups."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.benefit.answers import CANNOT_SAY, REASONS, Answers, TaskOutput, answer, errors
from client.benefit.bands import Bands
from client.benefit.bootstrap import compare, measure_name, too_few
from client.benefit.calibrate import Calibrator, calibration_error
from client.benefit.candidates import FEDERATED, FINE_TUNED, LOCAL
from client.benefit.classes import told
from client.benefit.conformal import coverage
from client.benefit.labelled import Labelled
from client.benefit.subgroups import groupings, patients_of, rounded, shown
from client.benefit.words import verdict
from common.plan import Plan, Task
from common.scores import exact_metrics

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
_NORMAL_90 = 1.645  # standard deviations about the mean that hold 90 % of a normal distribution
_KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
PAIRS = ((FEDERATED, LOCAL), (FINE_TUNED, LOCAL), (FINE_TUNED, FEDERATED))


@dataclass(frozen=True)
class TestRows:
    """The labelled test rows of one task. every: what models are compared on. one: what n answers are judged by.

    They are the same but for hourly tasks. features: (n, F). strange, gaps: (n,) what the detector says of each answer.
    distances: (n,) how unlike the training rows each is; infinite where that is not known.
    """

    every: Labelled
    one: Labelled
    features: Float32
    strange: Bool
    gaps: Bool
    distances: Float64


def task_report(plan: Plan, test: TestRows, output: TaskOutput, *, least: int) -> dict[str, Any]:
    """One task's entry in benefit.json, as docs/benefit.md describes it."""
    every, one = test.every, test.one
    task, own = one.task, one.scores[output.model]
    answers = answer(task, output, own, strange=test.strange, gaps=test.gaps)
    entry: dict[str, Any] = {"kind": task.kind, "description": task.description, "unit": task.unit}
    entry |= {"measure": measure_name(task), "test_rows": len(one.labels)}
    entry["test_patients"] = len(np.unique(one.patients))
    entry["models"] = {
        name: exact_metrics(each, every.labels, task, weights=every.weights)
        for name, each in every.scores.items()
        if not np.isnan(each).any()
    }
    entry["gains"] = _gains(plan, every)
    entry["joining"] = _joining(every, entry["gains"])
    entry["calibration"] = _calibration(task, output, own, one.labels)
    entry["conformal"] = {"validation_patients": output.conformal.patients} | coverage(
        task, output.conformal, output.calibrator, own, one.labels, one.patients
    )
    if output.bands is not None:
        entry["bands"] = asdict(output.bands) | {"groups": _bands(output.bands, answers, one.labels)}
    entry["cannot_say"] = cannot_say(task, answers, one.labels)
    if (curve := risk_coverage(task, answers, one.labels, test.distances)) is not None:
        entry["risk_coverage"] = curve
    entry["subgroups"] = _subgroups(plan, test, output.model, answers, least=least)
    return entry


def _gains(plan: Plan, rows: Labelled) -> dict[str, Any]:
    """'ONE over OTHER' -> how much better ONE is, for the pairs of models that both know the task."""
    found = {}
    for one, other in PAIRS:
        pair = [rows.scores.get(name) for name in (one, other)]
        if any(each is None or np.isnan(each).any() for each in pair):
            continue
        further = {"seed": plan.seeds.training, "counts": rows.weights}
        gain = compare(rows.task, *pair, rows.labels, rows.patients, **further)  # type: ignore[arg-type]
        if gain is not None:
            found[f"{one} over {other}"] = asdict(gain)
    return found


def _joining(rows: Labelled, gains: dict[str, Any]) -> dict[str, Any]:
    """What the federation's model is worth here against the hospital's own."""
    gain = gains.get(f"{FEDERATED} over {LOCAL}")
    result: dict[str, Any] = {"verdict": verdict(gain)}
    if gain is not None:
        return result | {"gain": {name: gain[name] for name in ("value", "low", "high")}}
    local, few = rows.scores.get(LOCAL), too_few(rows.task, rows.labels, rows.patients)
    if local is None or np.isnan(local).any():
        return result | {"why": "alone, this hospital has too few training rows for a model of its own"}
    return result | {"why": f"of the test rows, {few}" if few else "the few cases belong to too few patients"}


def _calibration(task: Task, output: TaskOutput, own: Float32, labels: Float32) -> dict[str, Any]:
    found = asdict(output.calibrator)
    result = {name: value for name, value in found.items() if value not in ("", 0.0) or name == "kind"}
    if task.kind == "regression":
        if len(labels) and output.calibrator.scale:
            gap = np.abs(own[:, 0].astype(np.float64) - labels)
            result["within_1_645_scales"] = float((gap <= _NORMAL_90 * output.calibrator.scale).mean())
    elif len(labels):
        for name, calibrator in (("before", Calibrator()), ("after", output.calibrator)):
            p = calibrator.probabilities(task, own)
            result[name] = calibration_error(p, labels, ordered=task.kind == "ordinal")
    return result


def _bands(bands: Bands, answers: Answers, labels: Float32) -> dict[str, Any]:
    """Share of the test rows in each band, and how many of those had the outcome."""
    names = np.where(answers.said, bands.names(answers.p[:, 1]), CANNOT_SAY)
    result = {}
    for name in ("low", "medium", "high", CANNOT_SAY):
        there = names == name
        if there.any():
            result[name] = {"share": float(there.mean()), "observed": float(labels[there].mean())}
    return result


def cannot_say(task: Task, answers: Answers, labels: Float32) -> dict[str, Any]:
    """`share` of the rows, by `reasons`; the mean error of all rows, and of the rest. Without a row nothing."""
    rows, wrong = len(labels), errors(task, answers, labels)
    if not rows:
        return {"reasons": {}}
    result: dict[str, Any] = {"share": float((~answers.said).mean())}
    result["reasons"] = {why: float(there) for why in REASONS if (there := (answers.reason == why).mean()) > 0}
    result["error_of_all"] = float(wrong.mean())
    if answers.said.any():
        result["error_of_the_rest"] = float(wrong[answers.said].mean())
    return result


def risk_coverage(task: Task, answers: Answers, labels: Float32, distances: Float64) -> list[dict[str, float]] | None:
    """Error among the `kept` share of rows of which the class that is told is the most certain.

    Of a quantity, whose interval is as wide for every row, those that are nearest to the training rows; None where
    no distance is known.
    """
    wrong = errors(task, answers, labels)
    if task.kind == "regression":
        if np.isinf(distances).any():
            return None
        order = np.argsort(distances, kind="stable")
    else:
        order = np.argsort(-answers.p[np.arange(len(labels)), told(task, answers.p)], kind="stable")
    result = []
    for share in _KEPT:
        kept = order[: int(np.ceil(share * len(order)))]
        if len(kept):
            result.append({"kept": share, "error": float(wrong[kept].mean())})
    return result


def _subgroups(plan: Plan, test: TestRows, model: str, answers: Answers, *, least: int) -> dict[str, Any]:
    """'sex' and 'age' -> groups with about how many patients, and two decimals of what the chosen model does there."""
    patients = test.one.patients
    if len(np.unique(patients)) < least:
        return {}
    every, result = np.ones(len(patients), dtype=bool), {}
    for what, grouping in groupings(plan, test.features).items():
        counts = patients_of(grouping, every, patients)
        groups = {}
        for number, visible in enumerate(shown(counts, least=least)):
            if not counts[number]:
                continue
            if not visible:
                groups[grouping.names[number]] = {"shown": False}
                continue
            of_group = grouping.member == number
            figures = _figures(test, model, answers, of_group, least=least)
            groups[grouping.names[number]] = {"shown": True, "patients": rounded(counts[number])} | figures
        result[what] = {"feature": grouping.feature, "groups": groups}
    return result


def _figures(test: TestRows, model: str, answers: Answers, rows: Bool, *, least: int) -> dict[str, float]:
    """Rounded to two decimals; AUROC only where both outcomes have enough patients for themselves."""
    task = test.one.task
    result = {"error": float(errors(task, answers, test.one.labels)[rows].mean())}
    result["cannot_say"] = float((~answers.said[rows]).mean())
    if task.yes_or_no:
        part = test.every.of(np.isin(test.every.at, test.one.at[rows]))
        sides = [len(np.unique(part.patients[part.labels == side])) for side in (0.0, 1.0)]
        if min(sides) >= least:
            own = part.scores[model]  # calibration keeps the order
            result["auroc"] = float(exact_metrics(own, part.labels, task, weights=part.weights)["auroc"])
    return {name: round(value, 2) for name, value in result.items()}
