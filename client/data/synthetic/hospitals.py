"""Hospital profiles: whom a synthetic hospital treats, how it measures, and what it labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from client.data.synthetic.recording import OBSERVABLES, OTHER_UNITS
from common.errors import DataError


@dataclass(frozen=True)
class CaseMix:
    """Whom a hospital treats.

    age_mean, age_sd: years. male, smoker: probabilities. adiposity, glycaemia, severity, frailty: shifts of the latent
    factors in standard deviations. admissions: relative shares of `recording.ADMISSION_TYPES` at severity 0.
    """

    age_mean: float = 62.0
    age_sd: float = 16.0
    male: float = 0.5
    smoker: float = 0.2
    adiposity: float = 0.0
    glycaemia: float = 0.0
    severity: float = 0.0
    frailty: float = 0.0
    admissions: tuple[float, float, float, float] = (0.35, 0.25, 0.30, 0.10)


@dataclass(frozen=True)
class Hospital:
    """One synthetic hospital.

    name: folder and site name. tasks: the plan's tasks that it labels. units: plan feature -> own unit where it is not
    the plan's. columns: plan name -> own column where they differ; "" is a feature that the hospital does not record.
    measured: plan feature -> share measured in an average patient, where it differs from the usual one.
    sickness_slope: factor on how much more a sicker patient is measured. typo_share, duplicate_share: of rows.
    """

    name: str
    title: str
    patients: int
    tasks: tuple[str, ...]
    mix: CaseMix = CaseMix()
    units: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    sickness_slope: float = 1.0
    charting_per_hour: float = 0.6
    typo_share: float = 0.002
    duplicate_share: float = 0.004

    def records(self, feature: str) -> bool:
        return self.columns.get(feature) != ""


NORTH = Hospital(
    name="north",
    title="A large university hospital with an intensive care unit; conventional units.",
    patients=4000,
    tasks=(
        "hypertension",
        "deterioration_24h",
        "length_of_stay_days",
        "antihypertensive_response",
        "triage_level",
    ),
    mix=CaseMix(severity=0.25, admissions=(0.25, 0.20, 0.35, 0.20)),
    columns={
        "heart_rate": "hr",
        "systolic_bp": "sbp",
        "diastolic_bp": "dbp",
        "respiratory_rate": "rr",
        "hypertension": "dx_hypertension",
    },
)

HARBOUR = Hospital(
    name="harbour",
    title="A city hospital with younger, heavier patients; degrees Fahrenheit, pounds and inches.",
    patients=2500,
    tasks=(
        "hypertension",
        "diabetes",
        "length_of_stay_days",
        "antihypertensive_response",
        "readmission_30d",
    ),
    mix=CaseMix(age_mean=54.0, smoker=0.30, adiposity=0.45, glycaemia=0.30, severity=-0.15, male=0.55),
    units={"temperature_c": "degF", "weight_kg": "lb", "height_cm": "in"},
    columns={
        "temperature_c": "temp_f",
        "weight_kg": "weight_lb",
        "height_cm": "height_in",
        "systolic_bp": "bp_sys",
        "diastolic_bp": "bp_dia",
        "on_antihypertensive": "bp_drug",
        "wbc": "",
    },
    measured={"lactate": 0.12, "temperature_c": 0.80, "cholesterol": 0.75},
    sickness_slope=1.4,
)

VALLEY = Hospital(
    name="valley",
    title="A small rural hospital with older, frailer patients; kilopascals and millimoles.",
    patients=1200,
    tasks=("hypertension", "diabetes", "deterioration_24h", "length_of_stay_days", "triage_level"),
    mix=CaseMix(age_mean=70.0, age_sd=13.0, smoker=0.15, frailty=0.35, male=0.46, severity=-0.05),
    units={
        "systolic_bp": "kPa",
        "diastolic_bp": "kPa",
        "glucose": "mmol/L",
        "creatinine": "umol/L",
        "cholesterol": "mmol/L",
    },
    columns={"glucose": "glucose_mmol", "creatinine": "creatinine_umol", "diabetes": "known_diabetes"},
    measured={"respiratory_rate": 0.35, "lactate": 0.15, "wbc": 0.60, "cholesterol": 0.30, "height_cm": 0.55},
    sickness_slope=0.7,
    charting_per_hour=0.3,
)

DEFAULT_HOSPITALS = (NORTH, HARBOUR, VALLEY)
_SHARED_TASKS = (
    "hypertension",
    "diabetes",
    "deterioration_24h",
    "length_of_stay_days",
    "antihypertensive_response",
    "triage_level",
)


def hospitals(count: int, seed: int = 0, *, patients: int | Sequence[int] | None = None) -> tuple[Hospital, ...]:
    """`count` profiles: the default three, then drawn ones, the same for a seed whatever `count` is.

    patients: patients of every hospital, or one number per hospital; None keeps each profile's own size.
    Raises DataError if a number is below 1, or `patients` does not have `count` numbers.
    """
    if count < 1:
        raise DataError(f"Synthetic hospitals: asked for {count}; at least 1 is needed.")
    chosen = [*DEFAULT_HOSPITALS[:count], *(_drawn(number, seed) for number in range(4, count + 1))]
    if patients is None:
        return tuple(chosen)
    sizes = [patients] * count if isinstance(patients, int) else list(patients)
    if len(sizes) != count:
        raise DataError(f"Synthetic hospitals: {len(sizes)} sizes for {count} hospitals; give 1 or {count}.")
    if min(sizes) < 1:
        raise DataError(f"Synthetic hospitals: a hospital of {min(sizes)} patients; at least 1 is needed.")
    return tuple(replace(hospital, patients=size) for hospital, size in zip(chosen, sizes, strict=True))


def _drawn(number: int, seed: int) -> Hospital:
    """Profile `number` (4, 5, ...); `readmission_30d` stays with `harbour` alone."""
    rng = np.random.default_rng([seed, number, 0x4057])
    labelled = rng.permutation(len(_SHARED_TASKS))[: rng.integers(3, len(_SHARED_TASKS) + 1)]
    shift = rng.normal(0.0, 0.3, size=4)
    shares = rng.dirichlet([7.0, 5.0, 6.0, 2.0])
    return Hospital(
        name=f"site_{number:02d}",
        title="A hospital drawn at random.",
        patients=int(np.exp(rng.uniform(np.log(600), np.log(5000)))),
        tasks=tuple(_SHARED_TASKS[index] for index in sorted(labelled)),
        mix=CaseMix(
            age_mean=float(rng.uniform(50, 72)),
            age_sd=float(rng.uniform(12, 18)),
            male=float(rng.uniform(0.42, 0.58)),
            smoker=float(rng.uniform(0.1, 0.35)),
            adiposity=float(shift[0]),
            glycaemia=float(shift[1]),
            severity=float(shift[2]),
            frailty=float(shift[3]),
            admissions=(float(shares[0]), float(shares[1]), float(shares[2]), float(shares[3])),
        ),
        units={feature: unit for group in OTHER_UNITS if rng.random() < 0.3 for feature, unit in group.items()},
        measured={
            feature: float(np.clip(observable.measured + rng.normal(0.0, 0.12), 0.1, 0.99))
            for feature, observable in OBSERVABLES.items()
            if observable.measured < 1.0
        },
        sickness_slope=float(rng.uniform(0.5, 1.5)),
        charting_per_hour=float(rng.uniform(0.25, 0.8)),
    )
