"""One synthetic hospital's patients: `generate(profile, seed)`."""

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from client.data.synthetic.causal import draw_latents, draw_observables
from client.data.synthetic.hospitals import Hospital
from client.data.synthetic.recording import OBSERVABLES, as_recorded, measured_mask
from client.data.synthetic.risks import draw_outcomes, sigmoid, true_risks


@dataclass(frozen=True)
class Cohort:
    """All that is known of a synthetic hospital; every frame has one row per patient, indexed by patient_id.

    complete: the record in the plan's units with every value measured, as read back from the hospital's own units.
    table: the same as the hospital holds it, empty where not measured. outcomes: all tasks for all patients.
    labels: the outcomes that the hospital knows; the columns are its tasks. truth: the true risks, `true_risk_<task>`.
    latents: what nobody measures.
    """

    hospital: Hospital
    seed: int
    complete: pd.DataFrame
    table: pd.DataFrame
    outcomes: pd.DataFrame
    labels: pd.DataFrame
    truth: pd.DataFrame
    latents: pd.DataFrame


def generate(hospital: Hospital, seed: int) -> Cohort:
    """Draw the hospital's patients; the same hospital and seed give the same cohort, bit for bit."""
    patients, measuring, outcomes_rng = streams(hospital, seed, "patients", "measuring", "outcomes")
    latent = draw_latents(patients, hospital.mix, hospital.patients)
    complete = _recorded(draw_observables(patients, hospital.mix, latent), hospital)
    complete.index = pd.Index([f"{hospital.name}-{n:06d}" for n in range(1, len(complete) + 1)], name="patient_id")

    truth = true_risks(complete)
    outcomes = draw_outcomes(outcomes_rng, truth)
    complete["on_antihypertensive"] = _treated(outcomes_rng, outcomes["hypertension"].to_numpy(), latent.frailty)
    complete = complete[list(OBSERVABLES)]

    mask = measured_mask(
        measuring, latent.severity, shares=dict(hospital.measured), sickness_slope=hospital.sickness_slope
    )
    for name in OBSERVABLES:
        mask[name] &= hospital.records(name)
    return Cohort(
        hospital=hospital,
        seed=seed,
        complete=complete,
        table=complete.where(mask.set_axis(complete.index)),
        outcomes=outcomes,
        labels=_known(outcomes, complete)[[task for task in outcomes if task in hospital.tasks]],
        truth=truth,
        latents=latent.frame().set_index(complete.index),
    )


def streams(hospital: Hospital, seed: int, *purposes: str) -> list[np.random.Generator]:
    """One generator per purpose, so that asking for more (hourly values) never changes what is there already."""
    name = zlib.crc32(hospital.name.encode())
    return [np.random.default_rng([seed, name, zlib.crc32(purpose.encode())]) for purpose in purposes]


def _recorded(values: pd.DataFrame, hospital: Hospital) -> pd.DataFrame:
    recorded = values.copy()
    for name in values:
        observable = OBSERVABLES[name]
        if observable.kind == "numeric":
            unit = hospital.units.get(name, observable.unit)
            recorded[name] = as_recorded(values[name].to_numpy(), name, unit)
    return recorded


def _treated(
    rng: np.random.Generator, hypertension: NDArray[np.float64], frailty: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1 where an antihypertensive was given: mostly to the hypertensive, less often to the frail."""
    chance = sigmoid(-2.3 + 3.4 * hypertension - 0.25 * frailty)
    return (rng.random(len(chance)) < chance).astype(np.float64)


def _known(outcomes: pd.DataFrame, complete: pd.DataFrame) -> pd.DataFrame:
    """Outcomes that can be known at all: a response needs the drug, and planned admissions are not triaged."""
    known = outcomes.copy()
    known.loc[complete["on_antihypertensive"] == 0.0, "antihypertensive_response"] = np.nan
    known.loc[complete["admission_type"] == "elective", "triage_level"] = np.nan
    return known
