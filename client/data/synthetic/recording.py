"""What a synthetic hospital can record: features, plan units, decimals, limits, and who gets measured."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.vitals import converter

ADMISSION_TYPES = ("elective", "urgent", "emergency", "transfer")
VITALS = ("heart_rate", "systolic_bp", "diastolic_bp", "respiratory_rate", "spo2", "temperature_c")


@dataclass(frozen=True)
class Observable:
    """One feature.

    decimals: own unit -> decimals on record, the plan's unit first. limits: lowest and highest value on record, in the
    plan's unit. measured: share measured in an average patient. slope: how steeply that share's logit rises with the
    latent severity.
    """

    kind: Literal["numeric", "binary", "categorical"]
    decimals: tuple[tuple[str, int], ...] = (("1", 0),)
    limits: tuple[float, float] = (0.0, 1.0)
    measured: float = 1.0
    slope: float = 0.0
    analyte: str | None = None

    @property
    def unit(self) -> str:
        return self.decimals[0][0]

    def to_own(self, values: NDArray[np.float64], unit: str, *, extra_decimals: int = 0) -> NDArray[np.float64]:
        """`values` in the plan's unit as the numbers that a hospital writes down in `unit`: converted and rounded."""
        own = converter(self.unit, unit, self.analyte)(values)
        return np.round(own, dict(self.decimals)[unit] + extra_decimals)

    def to_plan(self, own: NDArray[np.float64], unit: str) -> NDArray[np.float64]:
        """`own` numbers in `unit` in the plan's unit, as whoever reads the file gets them."""
        return np.asarray(converter(unit, self.unit, self.analyte)(own), dtype=np.float64)


_PRESSURE = (("mm[Hg]", 0), ("kPa", 1))

OBSERVABLES: dict[str, Observable] = {
    "age": Observable("numeric", (("a", 0),), (18.0, 100.0)),
    "male": Observable("binary"),
    "smoker": Observable("binary", measured=0.90),
    "admission_type": Observable("categorical"),
    "height_cm": Observable("numeric", (("cm", 0), ("in", 1)), (135.0, 210.0), 0.80, -0.2),
    "weight_kg": Observable("numeric", (("kg", 1), ("lb", 0)), (35.0, 220.0), 0.90, -0.1),
    "heart_rate": Observable("numeric", (("/min", 0),), (30.0, 210.0), 0.985, 0.5),
    "systolic_bp": Observable("numeric", _PRESSURE, (60.0, 250.0), 0.98, 0.5),
    "diastolic_bp": Observable("numeric", _PRESSURE, (30.0, 150.0), 0.98, 0.5),
    "respiratory_rate": Observable("numeric", (("/min", 0),), (6.0, 55.0), 0.90, 0.8),
    "spo2": Observable("numeric", (("%", 0),), (60.0, 100.0), 0.95, 0.8),
    "temperature_c": Observable("numeric", (("Cel", 1), ("degF", 1)), (33.0, 42.0), 0.95, 0.4),
    "glucose": Observable("numeric", (("mg/dL", 0), ("mmol/L", 1)), (30.0, 700.0), 0.85, 0.6, "glucose"),
    "creatinine": Observable("numeric", (("mg/dL", 2), ("umol/L", 0)), (0.3, 15.0), 0.85, 0.6, "creatinine"),
    "lactate": Observable("numeric", (("mmol/L", 1),), (0.3, 20.0), 0.40, 1.3),
    "hemoglobin": Observable("numeric", (("g/dL", 1),), (4.0, 21.0), 0.85, 0.5),
    "wbc": Observable("numeric", (("10*3/uL", 1),), (0.5, 80.0), 0.80, 0.6),
    "cholesterol": Observable("numeric", (("mg/dL", 0), ("mmol/L", 1)), (60.0, 500.0), 0.55, -0.4, "cholesterol"),
    "prior_admissions": Observable("numeric", (("1", 0),), (0.0, 20.0), 0.95),
    "on_antihypertensive": Observable("binary"),
}

# Units that a hospital changes together: nobody writes the systolic pressure in kPa and the diastolic in mmHg.
OTHER_UNITS: tuple[dict[str, str], ...] = (
    {"systolic_bp": "kPa", "diastolic_bp": "kPa"},
    {"temperature_c": "degF"},
    {"height_cm": "in", "weight_kg": "lb"},
    {"glucose": "mmol/L", "cholesterol": "mmol/L"},
    {"creatinine": "umol/L"},
)


def as_recorded(
    values: NDArray[np.float64], feature: str, unit: str, *, extra_decimals: int = 0
) -> NDArray[np.float64]:
    """`values`, in the plan's unit, as a reader of the hospital's file gets them back: limited, rounded, converted."""
    observable = OBSERVABLES[feature]
    own = observable.to_own(np.clip(values, *observable.limits), unit, extra_decimals=extra_decimals)
    return observable.to_plan(own, unit)


def measured_mask(
    rng: np.random.Generator, severity: NDArray[np.float64], *, shares: dict[str, float], sickness_slope: float
) -> pd.DataFrame:
    """True where a value is measured, (n, features): logit P = logit(share) + slope · sickness_slope · severity.

    The mask depends on latent severity and chance only. Labels are drawn from the full record, so given that record
    they are independent of the mask: missingness is informative about the patient, but no way round the oracle.
    """
    columns = {}
    for name, observable in OBSERVABLES.items():
        share = shares.get(name, observable.measured)
        draw = rng.random(len(severity))
        if share >= 1.0:
            columns[name] = np.ones(len(severity), dtype=bool)
        else:
            logit = np.log(share / (1.0 - share)) + observable.slope * sickness_slope * severity
            columns[name] = (draw < 1.0 / (1.0 + np.exp(-logit))) & (share > 0.0)
    columns["diastolic_bp"] = columns["systolic_bp"]  # one cuff gives both
    return pd.DataFrame(columns)
