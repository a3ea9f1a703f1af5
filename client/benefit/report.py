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
from client.benefit.conformal import coverage
from client.benefit.subgroups import groupings, patients_of, rounded, shown
from client.benefit.words import verdict
from common.plan import Plan, Task
from common.scores import exact_metrics

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
_NORMAL_90 = 1.645  # standard deviations about the mean that hold 90 % of a normal distribution
_KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
PAIRS = ((FEDERATED, LOCAL), (FINE_TUNED, LOCAL), (FINE_TUNED, FEDERATED))


@dataclass(frozen=True)
class TestRows:
    """The labelled test rows of one task. scores: candidate -> (n, task.outputs), NaN without a model for the task.

    strange, gaps: (n,) what the detector says of each.
    """

    task: Task
    scores: dict[str, Float32]
    labels: Float32
    patients: NDArray[np.str_]
    features: Float32
    strange: Bool
    gaps: Bool


def task_report(plan: Plan, test: TestRows, output: TaskOutput, *, least: int) -> dict[str, Any]:
    """One task's entry in benefit.json, as docs/benefit.md describes it."""
    task, own = test.task, test.scores[output.model]
    answers = answer(task, output, own, strange=test.strange, gaps=test.gaps)
    entry: dict[str, Any] = {"kind": task.kind, "description": task.description, "unit": task.unit}
    entry |= {"measure": measure_name(task), "test_rows": len(test.labels)}
    entry["test_patients"] = len(np.unique(test.patients))
    entry["models"] = {
        name: exact_metrics(each, test.labels, task) for name, each in test.scores.items() if not np.isnan(each).any()
    }
    entry["gains"] = _gains(plan, test)
    entry["joining"] = _joining(test, entry["gains"])
    entry["calibration"] = _calibration(task, output, own, test.labels)
    entry["conformal"] = {"validation_patients": output.conformal.patients} | coverage(
        task, output.conformal, output.calibrator, own, test.labels, test.patients
    )
    if output.bands is not None:
        entry["bands"] = asdict(output.bands) | {"groups": _bands(output.bands, answers, test.labels)}
    entry["cannot_say"] = cannot_say(task, answers, test.labels)
    if task.kind != "regression":
        entry["risk_coverage"] = risk_coverage(task, answers, test.labels)
    entry["subgroups"] = _subgroups(plan, test, answers, least=least)
    return entry


def _gains(plan: Plan, test: TestRows) -> dict[str, Any]:
    """'ONE over OTHER' -> how much better ONE is, for the pairs of models that both know the task."""
    found = {}
    for one, other in PAIRS:
        pair = [test.scores.get(name) for name in (one, other)]
        if any(each is None or np.isnan(each).any() for each in pair):
            continue
        gain = compare(test.task, *pair, test.labels, test.patients, seed=plan.seeds.training)  # type: ignore[arg-type]
        if gain is not None:
            found[f"{one} over {other}"] = asdict(gain)
    return found


def _joining(test: TestRows, gains: dict[str, Any]) -> dict[str, Any]:
    """What the federation's model is worth here against the hospital's own."""
    gain = gains.get(f"{FEDERATED} over {LOCAL}")
    result: dict[str, Any] = {"verdict": verdict(gain)}
    if gain is not None:
        return result | {"gain": {name: gain[name] for name in ("value", "low", "high")}}
    local, few = test.scores.get(LOCAL), too_few(test.task, test.labels)
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
            result[name] = calibration_error(calibrator.probabilities(task, own), labels)
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


def risk_coverage(task: Task, answers: Answers, labels: Float32) -> list[dict[str, float]]:
    """Error among the `kept` share of rows whose most probable class is the most certain."""
    wrong = errors(task, answers, labels)
    order = np.argsort(-answers.p.max(axis=1), kind="stable") if len(labels) else np.zeros(0, dtype=np.int64)
    result = []
    for share in _KEPT:
        kept = order[: int(np.ceil(share * len(order)))]
        if len(kept):
            result.append({"kept": share, "error": float(wrong[kept].mean())})
    return result


def _subgroups(plan: Plan, test: TestRows, answers: Answers, *, least: int) -> dict[str, Any]:
    """'sex' and 'age' -> groups with about how many patients, and two decimals of what the chosen model does there."""
    if len(np.unique(test.patients)) < least:
        return {}
    every, result = np.ones(len(test.labels), dtype=bool), {}
    for what, grouping in groupings(plan, test.features).items():
        counts = patients_of(grouping, every, test.patients)
        groups = {}
        for number, visible in enumerate(shown(counts, least=least)):
            if not counts[number]:
                continue
            if not visible:
                groups[grouping.names[number]] = {"shown": False}
                continue
            of_group = grouping.member == number
            figures = _figures(test, answers, of_group, least=least)
            groups[grouping.names[number]] = {"shown": True, "patients": rounded(counts[number])} | figures
        result[what] = {"feature": grouping.feature, "groups": groups}
    return result


def _figures(test: TestRows, answers: Answers, rows: Bool, *, least: int) -> dict[str, float]:
    """Rounded to two decimals; AUROC only where both outcomes have enough patients for themselves."""
    labels = test.labels[rows]
    result = {"error": float(errors(test.task, answers, test.labels)[rows].mean())}
    result["cannot_say"] = float((~answers.said[rows]).mean())
    if test.task.kind == "binary":
        sides = [len(np.unique(test.patients[rows][labels == side])) for side in (0.0, 1.0)]
        if min(sides) >= least:
            own = np.log(answers.p[rows, 1:]).astype(np.float32)  # any increasing function of the risk
            result["auroc"] = float(exact_metrics(own, labels, test.task)["auroc"])
    return {name: round(value, 2) for name, value in result.items()}
