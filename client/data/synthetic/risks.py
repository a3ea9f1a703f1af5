"""The causal model, part two: four clinical scores of the record, and the true risk of every label.

A risk is a function of what stands in the record, never of the latents, so it is exactly P(label | full record): no
model can beat it, except by luck. All tasks share the scores; that is what an encoder can learn together.
Every equation is in docs/synthetic.md.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Vector = NDArray[np.float64]
TRIAGE_LEVELS = (1, 2, 3, 4)
STAY_SHAPE = 6.0
_TRIAGE_CUTS = np.array([5.0, 1.6, -1.4])


@dataclass(frozen=True)
class Scores:
    """(n,) float64 each, of a full record in the plan's units; 0 is unremarkable."""

    decades: Vector
    bmi: Vector
    acute: Vector
    vascular: Vector
    glycaemic: Vector
    frail: Vector


def scores(record: pd.DataFrame) -> Scores:
    """The scores of `record`, (n, features), complete and in the plan's units."""
    x = {name: record[name].to_numpy(dtype=np.float64) for name in record.columns if name != "admission_type"}

    def above(name: str, limit: float, scale: float) -> Vector:
        return np.maximum(x[name] - limit, 0.0) / scale

    def below(name: str, limit: float, scale: float) -> Vector:
        return np.maximum(limit - x[name], 0.0) / scale

    decades = (x["age"] - 60.0) / 15.0
    bmi = x["weight_kg"] / (x["height_cm"] / 100.0) ** 2
    alarm = (
        above("heart_rate", 90.0, 15.0)
        + below("heart_rate", 55.0, 8.0)
        + above("respiratory_rate", 19.0, 3.0)
        + below("spo2", 95.0, 3.0)
        + below("systolic_bp", 105.0, 12.0)
        + above("temperature_c", 37.8, 0.7)
        + below("temperature_c", 36.0, 0.6)
        + above("wbc", 11.0, 4.0)
        + np.maximum(np.log(x["lactate"] / 1.5), 0.0) / 0.4
    )
    acute = 4.0 * np.tanh(alarm / 4.0)
    # Pain and fever raise blood pressure and glucose, so in the acutely ill the same number means less.
    pressure = above("systolic_bp", 120.0, 14.0) + above("diastolic_bp", 76.0, 9.0) + above("cholesterol", 200.0, 60.0)
    vascular = pressure * (1.0 - 0.7 * np.tanh(acute / 2.0))
    glycaemic = np.log(x["glucose"] / 108.0) / 0.25 - 0.9 * np.tanh(acute / 2.0) + 0.5 * np.tanh((bmi - 29.0) / 4.0)
    frail = (
        0.8 * decades
        + np.maximum(np.log(x["creatinine"] / 1.1), 0.0) / 0.35
        + below("hemoglobin", 12.0, 1.5)
        + np.maximum(21.0 - bmi, 0.0) / 2.0
        + 0.6 * np.log1p(x["prior_admissions"])
    )
    return Scores(decades, bmi, acute, vascular, glycaemic, frail)


def true_risks(record: pd.DataFrame) -> pd.DataFrame:
    """`true_risk_<task>` of each patient: probabilities, and the mean of the stay in days.

    record: (n, features), complete and in the plan's units; `on_antihypertensive` is not used.
    Returns (n, 10) float64: one column per task, and one per level for triage.
    """
    s = scores(record)
    male, smoker = record["male"].to_numpy(dtype=np.float64), record["smoker"].to_numpy(dtype=np.float64)
    kind = record["admission_type"].to_numpy()
    log_renal = np.log(record["creatinine"].to_numpy() / 0.95)
    pulse_pressure = record["systolic_bp"].to_numpy() - record["diastolic_bp"].to_numpy()
    prior = np.log1p(record["prior_admissions"].to_numpy())
    sugar = np.maximum(s.glycaemic, 0.0)

    hypertension = (
        -1.75
        + 1.1 * s.vascular * (1.0 - 0.3 * s.decades)
        + 0.9 * s.decades
        + 0.7 * np.tanh((s.bmi - 28.0) / 4.0)
        + 0.5 * log_renal / 0.3
    )
    diabetes = (
        -2.8
        + 0.4 * s.glycaemic
        + 1.1 * sugar * (1.0 + 0.6 * np.tanh((s.bmi - 28.0) / 4.0))
        + 0.5 * s.decades
        + 0.4 * sugar * np.tanh(s.vascular / 2.0)
    )
    deterioration = (
        -4.5
        + 0.9 * s.acute
        + 0.35 * s.acute * np.tanh(np.maximum(s.frail, 0.0) / 2.0)
        + 0.5 * (kind == "transfer")
        + 0.30 * s.frail
    )
    log_stay = (
        1.25
        + 0.45 * np.tanh(s.acute / 1.5) * (1.0 + 0.6 * smoker)
        + 0.30 * np.tanh(s.frail / 1.5)
        - 0.35 * (kind == "elective")
        + 0.20 * (kind == "transfer")
        + 0.15 * np.tanh(sugar)
    )
    response = (
        1.3
        - 2.5 * np.tanh(s.decades) * np.tanh((pulse_pressure - 54.0) / 9.0)
        + 1.7 * np.tanh((record["systolic_bp"].to_numpy() - 138.0) / 14.0)
        - 1.2 * np.tanh((s.bmi - 28.0) / 4.0) * male
        - 0.7 * log_renal / 0.3
        - 0.7 * np.tanh(s.glycaemic)
    )
    readmission = -3.75 + 0.70 * s.frail + 1.0 * prior + 0.45 * sugar * (1.0 + 0.6 * smoker) + 0.40 * s.acute
    urgency = (
        -1.6
        + 1.3 * s.acute
        + 0.35 * np.maximum(s.decades, 0.0) * s.acute / 2.0
        + 0.6 * (kind == "emergency")
        + 0.15 * s.frail
    )

    risks = {
        "true_risk_hypertension": sigmoid(hypertension),
        "true_risk_diabetes": sigmoid(diabetes),
        "true_risk_deterioration_24h": sigmoid(deterioration),
        "true_risk_length_of_stay_days": np.exp(log_stay),
        "true_risk_antihypertensive_response": sigmoid(response),
        "true_risk_readmission_30d": sigmoid(readmission),
    }
    # Proportional odds: P(level <= j) = sigmoid(1.6 · urgency - cut_j); level 1 is the most urgent.
    at_least = sigmoid(1.6 * urgency[:, None] - _TRIAGE_CUTS)
    steps = np.diff(np.column_stack([np.zeros(len(record)), at_least, np.ones(len(record))]), axis=1)
    risks |= {f"true_risk_triage_level_{level}": steps[:, index] for index, level in enumerate(TRIAGE_LEVELS)}
    return pd.DataFrame(risks, index=record.index)


def sigmoid(logit: Vector) -> Vector:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -500.0, 500.0))))


def draw_outcomes(rng: np.random.Generator, risks: pd.DataFrame) -> pd.DataFrame:
    """One outcome per patient and task from its true risk, independently; (n, 7) float64."""
    count = len(risks)
    outcomes = {
        name.removeprefix("true_risk_"): (rng.random(count) < risk.to_numpy()).astype(np.float64)
        for name, risk in risks.items()
        if not name.startswith(("true_risk_length_of_stay_days", "true_risk_triage_level"))
    }
    mean_stay = risks["true_risk_length_of_stay_days"].to_numpy()
    outcomes["length_of_stay_days"] = np.round(rng.gamma(STAY_SHAPE, mean_stay / STAY_SHAPE), 1)
    reached = risks.filter(like="true_risk_triage_level_").to_numpy().cumsum(axis=1)
    outcomes["triage_level"] = np.minimum((rng.random((count, 1)) > reached).sum(axis=1), 3) + 1.0
    return pd.DataFrame(outcomes, index=risks.index)
