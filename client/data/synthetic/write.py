"""Write synthetic hospitals as real ones would hold them: own column names, own units, typing errors, double rows."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from client.data.synthetic.cohort import Cohort, generate, streams
from client.data.synthetic.hospitals import Hospital
from client.data.synthetic.hourly import EXTRA_DECIMALS, generate_hourly
from client.data.synthetic.recording import OBSERVABLES, VITALS
from common.errors import DataError
from common.files import write_atomic

Vector = NDArray[np.float64]

# Typing errors that the plan's ranges catch: a monitor's error code, a lost decimal point, a scale that was not read.
_TYPOS = {"heart_rate": (0.0, 999.0), "systolic_bp": (10.0, 0.0), "temperature_c": (10.0, 0.0), "weight_kg": (0.0, 0.0)}


def write_hospitals(
    directory: str | Path,
    hospitals: Sequence[Hospital],
    seed: int,
    *,
    hourly: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write `directory`/<name>/patients.csv and site.toml of every hospital, and give back the site folders.

    hourly: write hourly.csv.gz too. The same hospitals and seed give the same bytes.
    Raises DataError if a file exists already and `overwrite` is false, or if two hospitals have one name;
    then nothing is written. Raises ConsiliumError if a file cannot be written.
    """
    root = Path(directory)
    names = [hospital.name for hospital in hospitals]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"Synthetic hospitals: {twice[0]!r} is there twice; every hospital needs its own name.")
    files = ["patients.csv", "site.toml", *(["hourly.csv.gz"] if hourly else [])]
    present = [root / name / file for name in names for file in files if (root / name / file).exists()]
    if present and not overwrite:
        raise DataError(f"{present[0]}: exists already and is not replaced; choose an empty folder.")
    for hospital in hospitals:
        cohort = generate(hospital, seed)
        folder = root / hospital.name
        write_atomic(folder / "patients.csv", _csv(hospital_table(cohort)))
        if hourly:
            write_atomic(folder / "hourly.csv.gz", gzip.compress(_csv(hourly_table(cohort)), mtime=0))
        write_atomic(folder / "site.toml", site_toml(hospital).encode())
    return [root / name for name in names]


def hospital_table(cohort: Cohort) -> pd.DataFrame:
    """The hospital's own patients.csv: own names and units, labels, true risks, typing errors and double rows."""
    hospital = cohort.hospital
    (rng,) = streams(hospital, cohort.seed, "dirt")
    own = pd.DataFrame({"patient_id": cohort.table.index})
    for name, observable in OBSERVABLES.items():
        if not hospital.records(name):
            continue
        values = cohort.table[name].to_numpy()
        if observable.kind != "categorical":
            unit = hospital.units.get(name, observable.unit)
            values = observable.to_own(values.astype(np.float64), unit)
            values = _integers(_mistyped(rng, values, name, hospital.typo_share))
        own[hospital.columns.get(name, name)] = values
    for task in cohort.labels:
        own[hospital.columns.get(task, task)] = _integers(cohort.labels[task].to_numpy())
        for column in cohort.truth:
            if column.startswith(f"true_risk_{task}"):
                own[column] = cohort.truth[column].round(6).to_numpy()
    extra = rng.choice(len(own), size=int(np.ceil(hospital.duplicate_share * len(own))), replace=False)
    return own.iloc[np.sort(np.concatenate([np.arange(len(own)), extra]))]


def hourly_table(cohort: Cohort) -> pd.DataFrame:
    """The hospital's own hourly.csv.gz; `deteriorated` only where the hospital labels deterioration."""
    hospital, hourly = cohort.hospital, generate_hourly(cohort)
    own = hourly[["patient_id", "hour"]].copy()
    for name in VITALS:
        if hospital.records(name):
            unit = hospital.units.get(name, OBSERVABLES[name].unit)
            own[hospital.columns.get(name, name)] = OBSERVABLES[name].to_own(
                hourly[name].to_numpy(), unit, extra_decimals=EXTRA_DECIMALS
            )
    if "deterioration_24h" in hospital.tasks:
        own["deteriorated"] = _integers(hourly["deteriorated"].to_numpy())
    return own


def site_toml(hospital: Hospital) -> str:
    """The hospital's site.toml: what its columns are called, and which units they are in."""
    lines = [
        f"# {hospital.title}",
        f"# Synthetic: no real person is described here. Labels: {', '.join(hospital.tasks)}.",
        "",
        "[site]",
        f"name = {json.dumps(hospital.name)}",
        "",
        "[data]",
        'files = ["patients.csv"]',
    ]
    sections = (
        ("columns", hospital.columns, 'The plan\'s name = the column here, where they differ; "" = not recorded here.'),
        ("units", hospital.units, "The unit of the values here, where it is not the plan's."),
    )
    for section, entries, comment in sections:
        if entries:
            lines += ["", f"# {comment}", f"[{section}]"]
            lines += [f"{name} = {json.dumps(entry)}" for name, entry in entries.items()]
    return "\n".join(lines) + "\n"


def _mistyped(rng: np.random.Generator, values: Vector, name: str, share: float) -> Vector:
    """`values` with a typing error in a `share` of the measured ones, at least one where `share` is above 0."""
    if name not in _TYPOS:
        return values
    factor, offset = _TYPOS[name]
    measured = np.flatnonzero(~np.isnan(values))
    wrong = rng.choice(measured, size=int(np.ceil(share * len(measured))), replace=False)
    values = values.copy()
    values[wrong] = np.round(values[wrong] * factor + offset, 3)
    return values


def _integers(values: Vector) -> Vector | pd.arrays.IntegerArray:
    """`values` as nullable integers where all are whole, so that a file says 1 and not 1.0."""
    known = values[~np.isnan(values)]
    return pd.array(values, dtype="Int64") if np.array_equal(known, np.round(known)) else values


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()
