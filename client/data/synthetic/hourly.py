"""Hours 0 to 47 of the vitals beside the table: irregularly charted, with the table's values as means of hours 0-23."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from client.data.synthetic.cohort import Cohort, streams
from client.data.synthetic.recording import OBSERVABLES, VITALS, as_recorded

HOURS = 48
FIRST_DAY = 24
WARNING_HOURS = 8
EXTRA_DECIMALS = 1
_MEMORY = 0.7

# Per vital: standard deviation within a patient, share of charted hours that include it, swing over a day,
# drift at deterioration; all in the plan's unit.
_PATTERN = {
    "heart_rate": (6.0, 1.0, 3.0, 18.0),
    "systolic_bp": (8.0, 0.9, 4.0, -18.0),
    "diastolic_bp": (4.0, 0.9, 2.0, -9.0),
    "respiratory_rate": (2.0, 0.6, 0.5, 6.0),
    "spo2": (1.2, 0.9, 0.0, -5.0),
    "temperature_c": (0.25, 0.3, 0.15, 0.4),
}
_RESPONSE_MMHG = {"systolic_bp": -15.0, "diastolic_bp": -8.0}


def generate_hourly(cohort: Cohort) -> pd.DataFrame:
    """One row per patient and charted hour: patient_id, hour (0-47), the six vitals, and `deteriorated`.

    Vitals are in the plan's units, as read back from the hospital's own, and empty where not charted. A vital that the
    table holds is charted at least once in hours 0-23 and has the table's value as its mean there, up to rounding; one
    that the table lacks is not charted in those hours. deteriorated: 1.0 from the hour of deterioration on.
    """
    (rng,) = streams(cohort.hospital, cohort.seed, "hourly")
    count = len(cohort.table)
    hour = np.arange(HOURS)
    falls_ill = cohort.outcomes["deterioration_24h"].to_numpy() == 1.0
    onset = np.where(falls_ill, rng.integers(FIRST_DAY, HOURS, size=count), 10 * HOURS)[:, None]
    warning = np.clip((hour - onset + WARNING_HOURS) / WARNING_HOURS, 0.0, 1.0)
    responds = cohort.outcomes["antihypertensive_response"].to_numpy() * cohort.complete["on_antihypertensive"]
    relief = responds.to_numpy()[:, None] * np.clip((hour - FIRST_DAY) / 6.0, 0.0, 1.0)

    columns: dict[str, NDArray[np.float64]] = {}
    charted: dict[str, NDArray[np.bool_]] = {}
    noise: dict[str, NDArray[np.float64]] = {}
    for name in VITALS:
        spread, _, swing, drift = _PATTERN[name]
        noise[name] = _autoregressive(rng, count)
        if name == "diastolic_bp":
            noise[name] = 0.6 * noise["systolic_bp"] + 0.8 * noise[name]
            charted[name] = charted["systolic_bp"]
        else:
            charted[name] = _charted(rng, cohort, name)
        path = spread * noise[name] + swing * np.sin(2.0 * np.pi * (hour - 9.0) / 24.0)
        path += drift * warning + _RESPONSE_MMHG.get(name, 0.0) * relief
        values = _around(cohort.complete[name].to_numpy(), path, charted[name], OBSERVABLES[name].limits)
        unit = cohort.hospital.units.get(name, OBSERVABLES[name].unit)
        recorded = as_recorded(values, name, unit, extra_decimals=EXTRA_DECIMALS)
        columns[name] = np.where(charted[name], recorded, np.nan)

    frame = pd.DataFrame(
        {
            "patient_id": np.repeat(cohort.table.index.to_numpy(), HOURS),
            "hour": np.tile(hour, count),
            **{name: values.ravel() for name, values in columns.items()},
            "deteriorated": (hour >= onset).astype(np.float64).ravel(),
        }
    )
    return frame.dropna(subset=list(VITALS), how="all", ignore_index=True)


def _autoregressive(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(count, HOURS), each row a stationary AR(1) process of variance 1."""
    steps = rng.standard_normal((count, HOURS))
    for hour in range(1, HOURS):
        steps[:, hour] = _MEMORY * steps[:, hour - 1] + np.sqrt(1.0 - _MEMORY**2) * steps[:, hour]
    return steps


def _charted(rng: np.random.Generator, cohort: Cohort, name: str) -> NDArray[np.bool_]:
    """(count, HOURS): more often in sicker patients, and in hours 0-23 exactly where the table has a value."""
    count = len(cohort.table)
    share = cohort.hospital.charting_per_hour * _PATTERN[name][1]
    slope = 0.5 * cohort.hospital.sickness_slope
    logit = np.log(share / (1.0 - share)) + slope * cohort.latents["severity"].to_numpy()
    seen = rng.random((count, HOURS)) < (1.0 / (1.0 + np.exp(-logit)))[:, None]
    forced = rng.integers(FIRST_DAY, size=count)
    measured = cohort.table[name].notna().to_numpy()
    never = ~seen[:, :FIRST_DAY].any(axis=1)
    seen[never, forced[never]] = True
    seen[~measured, :FIRST_DAY] = False
    if not cohort.hospital.records(name):
        seen[:] = False
    return seen


def _around(
    base: NDArray[np.float64], path: NDArray[np.float64], seen: NDArray[np.bool_], limits: tuple[float, float]
) -> NDArray[np.float64]:
    """base + path, where the path of hours 0-23 has mean 0 over the charted hours and stays inside `limits`."""
    first = np.where(seen[:, :FIRST_DAY], 1.0, 0.0)
    total = np.maximum(first.sum(axis=1), 1.0)
    path = path - ((path[:, :FIRST_DAY] * first).sum(axis=1) / total)[:, None]
    day = path[:, :FIRST_DAY] * first
    highest, lowest = np.maximum(day.max(axis=1), 1e-9), np.maximum(-day.min(axis=1), 1e-9)
    # Narrowing the whole day keeps its mean; clipping single hours would move it.
    narrow = np.minimum(1.0, np.minimum((limits[1] - base) / highest, (base - limits[0]) / lowest))
    path[:, :FIRST_DAY] *= np.maximum(narrow, 0.0)[:, None]
    return base[:, None] + path
