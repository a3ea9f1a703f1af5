"""The causal model, part one: latent factors of a patient, and what can be measured of them.

Every equation is in docs/synthetic.md; z_i are independent standard normal draws.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from client.data.synthetic.hospitals import CaseMix
from client.data.synthetic.recording import ADMISSION_TYPES

Vector = NDArray[np.float64]
_ADMISSION_BY_SEVERITY = np.array([-0.9, 0.0, 0.8, 0.5])


@dataclass(frozen=True)
class Latents:
    """What drives a patient and is never recorded; (n,) float64 each, about unit variance."""

    age: Vector
    male: Vector
    smoker: Vector
    adiposity: Vector
    stiffness: Vector
    glycaemia: Vector
    frailty: Vector
    renal: Vector
    severity: Vector
    inflammation: Vector

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(dict(self.__dict__))


def draw_latents(rng: np.random.Generator, mix: CaseMix, patients: int) -> Latents:
    """`patients` independent draws of the latent factors."""
    z = rng.standard_normal((8, patients))
    age = np.clip(mix.age_mean + mix.age_sd * z[0], 18.0, 100.0)
    decades = (age - 60.0) / 15.0
    male = (rng.random(patients) < mix.male).astype(np.float64)
    smoker = (rng.random(patients) < mix.smoker).astype(np.float64)
    adiposity = mix.adiposity - 0.3 * np.maximum(decades - 1.0, 0.0) + z[1]
    stiffness = 0.65 * decades + 0.30 * adiposity + 0.35 * smoker + 0.15 * male + 0.75 * z[2]
    glycaemia = mix.glycaemia + 0.25 * decades + 0.45 * adiposity + 0.85 * z[3]
    frailty = mix.frailty + 0.55 * decades + 0.20 * glycaemia + 0.75 * z[4]
    renal = 0.35 * decades + 0.30 * stiffness + 0.25 * glycaemia + 0.80 * z[5]
    severity = mix.severity + 0.30 * frailty + 0.90 * z[6]
    inflammation = 0.55 * severity + 0.25 * smoker + 0.80 * z[7]
    return Latents(age, male, smoker, adiposity, stiffness, glycaemia, frailty, renal, severity, inflammation)


def draw_observables(rng: np.random.Generator, mix: CaseMix, latent: Latents) -> pd.DataFrame:
    """The patients' values in the plan's units, (n, 19), before rounding; all but `on_antihypertensive`."""
    count = len(latent.age)
    z = rng.standard_normal((16, count))
    decades = (latent.age - 60.0) / 15.0
    sick, shock = latent.severity, np.maximum(latent.severity - 1.0, 0.0)
    height = 163.5 + 13.0 * latent.male - 1.5 * decades + 6.5 * z[0]
    bmi = np.exp(np.log(26.5) + 0.17 * latent.adiposity - 0.03 * latent.frailty + 0.06 * z[1])
    pulse_pressure = 48.0 + 8.5 * latent.stiffness + 4.0 * z[2]
    mean_pressure = 93.0 + 7.5 * latent.stiffness + 2.0 * latent.adiposity + 2.0 * sick - 12.0 * shock + 7.0 * z[3]
    systolic = mean_pressure + 0.62 * pulse_pressure + 3.0 * z[5]
    diastolic = np.minimum(mean_pressure - 0.36 * pulse_pressure + 3.0 * z[6], systolic - 12.0)
    return pd.DataFrame(
        {
            "age": latent.age,
            "male": latent.male,
            "smoker": latent.smoker,
            "admission_type": _admission(rng, mix, sick),
            "height_cm": height,
            "weight_kg": bmi * (height / 100.0) ** 2,
            "heart_rate": 77.0 + 8.0 * sick + 4.0 * latent.inflammation + 5.0 * shock - 2.0 * decades + 9.0 * z[4],
            "systolic_bp": systolic,
            "diastolic_bp": diastolic,
            "respiratory_rate": np.exp(np.log(16.5) + 0.11 * sick + 0.06 * latent.inflammation + 0.11 * z[7]),
            "spo2": 100.0 - np.exp(1.15 + 0.30 * sick + 0.25 * latent.smoker + 0.12 * latent.frailty + 0.40 * z[8]),
            "temperature_c": 36.8 + 0.35 * latent.inflammation + 0.20 * np.maximum(latent.inflammation, 0) + 0.3 * z[9],
            "glucose": np.exp(np.log(112.0) + 0.22 * latent.glycaemia + 0.07 * sick + 0.10 * z[10]),
            "creatinine": np.exp(np.log(0.92) + 0.12 * latent.male + 0.27 * latent.renal + 0.08 * sick + 0.1 * z[11]),
            "lactate": np.exp(np.log(1.25) + 0.30 * sick + 0.25 * shock + 0.25 * z[12]),
            "hemoglobin": 13.0 + 0.9 * latent.male - 0.7 * latent.frailty - 0.4 * latent.renal + 1.1 * z[13],
            "wbc": np.exp(np.log(8.2) + 0.20 * latent.inflammation + 0.05 * latent.smoker + 0.20 * z[15]),
            "cholesterol": 188.0
            + 14.0 * latent.adiposity
            + 10.0 * latent.stiffness
            - 12.0 * latent.frailty
            + 30.0 * z[14],
            "prior_admissions": rng.poisson(np.exp(-0.7 + 0.55 * latent.frailty)).astype(np.float64),
        }
    )


def _admission(rng: np.random.Generator, mix: CaseMix, severity: Vector) -> NDArray[np.object_]:
    """One of `ADMISSION_TYPES` each: softmax of log share + slope · severity, drawn by the Gumbel maximum."""
    scores = np.log(np.asarray(mix.admissions)) + np.outer(severity, _ADMISSION_BY_SEVERITY)
    return np.array(ADMISSION_TYPES, dtype=object)[np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)]
