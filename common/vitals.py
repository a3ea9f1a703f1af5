"""Vital signs and laboratory values: units and their conversion, LOINC codes, plausible ranges.

Units are UCUM (Schadow & McDonald, The Unified Code for Units of Measure, ucum.org) or a common alias of it.
Molar masses are PubChem's (pubchem.ncbi.nlm.nih.gov), haemoglobin's monomer ICSH 1996 (J Clin Pathol 49:271-274).
"""

from dataclasses import dataclass
from typing import Any

from common.errors import PlanError


@dataclass(frozen=True)
class Affine:
    """value in the plan's unit = scale * value + offset."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, values: Any) -> Any:
        """`values` (a number or an array of floats) converted; the shape is kept."""
        return values * self.scale + self.offset

    def inverse(self) -> "Affine":
        return Affine(1.0 / self.scale, -self.offset / self.scale)

    def then(self, after: "Affine") -> "Affine":
        """First this conversion, then `after`."""
        return Affine(self.scale * after.scale, self.offset * after.scale + after.offset)


@dataclass(frozen=True)
class _Unit:
    """A unit of one dimension; `to_base` leads to that dimension's base unit."""

    dimension: str
    to_base: Affine


# Scale to the base unit of each dimension, which is its first entry. 1 mm[Hg] = 133.322387415 Pa (UCUM).
_SCALES: dict[str, dict[str, float]] = {
    "pressure": {"mm[Hg]": 1.0, "kPa": 7.500617, "Pa": 0.007500617},
    "mass": {"kg": 1.0, "g": 0.001, "[lb_av]": 0.45359237},
    "length": {"cm": 1.0, "m": 100.0, "mm": 0.1, "[in_i]": 2.54},
    "fraction": {"1": 1.0, "%": 0.01},
    "rate": {"/min": 1.0, "/s": 60.0},
    "time": {"d": 1.0, "h": 1.0 / 24.0, "min": 1.0 / 1440.0, "wk": 7.0, "mo": 30.4375, "a": 365.25},
    "volume": {"mL": 1.0, "dL": 100.0, "L": 1000.0},
    # A spread or a change has no offset: 1.8 degF of it are 1 Cel.
    "temperature difference": {"Cel{difference}": 1.0, "[degF]{difference}": 5.0 / 9.0},
    "acidity": {"[pH]": 1.0},
    "score": {"{score}": 1.0},
    "cells": {"10*9/L": 1.0, "10*3/uL": 1.0, "/uL": 0.001},
    "red cells": {"10*12/L": 1.0, "10*6/uL": 1.0},
    "mass concentration": {
        "g/L": 1.0, "g/dL": 10.0, "mg/dL": 0.01, "mg/L": 1e-3, "ug/dL": 1e-5, "ug/mL": 1e-3, "ug/L": 1e-6, "ng/mL": 1e-6
    },
    "substance concentration": {"mol/L": 1.0, "mmol/L": 1e-3, "umol/L": 1e-6, "nmol/L": 1e-9},
    "charge concentration": {"meq/L": 1e-3},
}  # fmt: skip
_CONCENTRATIONS = {"mass concentration", "substance concentration", "charge concentration"}

_UNITS: dict[str, _Unit] = {
    "Cel": _Unit("temperature", Affine()),
    "[degF]": _Unit("temperature", Affine(5.0 / 9.0, -160.0 / 9.0)),
    "K": _Unit("temperature", Affine(1.0, -273.15)),
    **{code: _Unit(name, Affine(scale)) for name, scales in _SCALES.items() for code, scale in scales.items()},
}

_ALIASES = {
    "mmhg": "mm[Hg]", "mm hg": "mm[Hg]", "kpa": "kPa", "pa": "Pa", "c": "Cel", "°c": "Cel", "degc": "Cel",
    "[degc]": "Cel", "celsius": "Cel", "cel": "Cel", "f": "[degF]", "°f": "[degF]", "degf": "[degF]",
    "fahrenheit": "[degF]", "lb": "[lb_av]", "lbs": "[lb_av]", "pound": "[lb_av]", "pounds": "[lb_av]", "in": "[in_i]",
    "inch": "[in_i]", "inches": "[in_i]", "percent": "%", "bpm": "/min", "beats/min": "/min", "{beats}/min": "/min",
    "breaths/min": "/min", "{breaths}/min": "/min", "1/min": "/min", "day": "d", "days": "d", "hour": "h",
    "hours": "h", "minute": "min", "minutes": "min", "years": "a", "year": "a", "yr": "a", "months": "mo", "ml": "mL",
    "l": "L", "10^9/l": "10*9/L", "10e9/l": "10*9/L", "10^3/ul": "10*3/uL", "k/ul": "10*3/uL", "thou/ul": "10*3/uL",
    "10^12/l": "10*12/L", "10^6/ul": "10*6/uL", "ph": "[pH]", "none": "1",
}  # fmt: skip
_FOLDED = {code.casefold(): code for code in _UNITS} | _ALIASES

# g/mol. BUN is the nitrogen of urea (2 N); lactate is counted as lactic acid and phosphate as phosphorus, as
# laboratories do.
_MOLAR_MASS = {
    "glucose": 180.156, "creatinine": 113.12, "bilirubin": 584.66, "urea": 60.056, "bun": 28.0134,
    "cholesterol": 386.65, "triglycerides": 885.4, "lactate": 90.08, "urate": 168.11, "calcium": 40.078,
    "magnesium": 24.305, "phosphate": 30.974, "hemoglobin": 16114.5, "sodium": 22.990, "potassium": 39.098,
    "chloride": 35.45, "bicarbonate": 61.017,
}  # fmt: skip
_VALENCE = {"sodium": 1, "potassium": 1, "chloride": 1, "bicarbonate": 1, "lactate": 1, "calcium": 2, "magnesium": 2}
_ANALYTE_ALIASES = {
    "urea_nitrogen": "bun", "haemoglobin": "hemoglobin", "uric_acid": "urate", "serum_cholesterol": "cholesterol",
}  # fmt: skip


def converter(from_unit: str, to_unit: str, analyte: str | None = None) -> Affine:
    """The conversion of a value in `from_unit` to `to_unit`.

    analyte: the substance, e.g. 'glucose', where a mass becomes an amount of substance (mg/dL and mmol/L).
    Two equal spellings need no conversion, even of a unit that is not known here.
    Raises PlanError that names the unit found and those that can be converted to `to_unit`.
    """
    if from_unit.strip() == to_unit.strip():
        return Affine()
    allowed = convertible(to_unit, analyte)
    source, target = _canonical(from_unit), _canonical(to_unit)
    if source is None or target is None or source not in allowed:
        hint = _analyte_hint(source, target, analyte)
        raise PlanError(f"unit {from_unit!r} cannot become {to_unit!r}; allowed: {', '.join(allowed)}{hint}.")
    bridge = _bridge(_UNITS[source], _UNITS[target], analyte)
    return _UNITS[source].to_base.then(bridge).then(_UNITS[target].to_base.inverse())


def convertible(to_unit: str, analyte: str | None = None) -> tuple[str, ...]:
    """The UCUM codes that `converter` turns into `to_unit`, that one first."""
    target = _canonical(to_unit)
    if target is None:
        return (to_unit,)
    reach = {_UNITS[target].dimension}
    name = _substance(analyte)
    if reach & _CONCENTRATIONS and name in _MOLAR_MASS:
        reach |= _CONCENTRATIONS if name in _VALENCE else _CONCENTRATIONS - {"charge concentration"}
    others = [code for code, unit in _UNITS.items() if unit.dimension in reach and code != target]
    return (target, *others)


def _bridge(source: _Unit, target: _Unit, analyte: str | None) -> Affine:
    """From the base unit of one dimension to that of the other: g/L, mol/L and eq/L of one analyte."""
    if source.dimension == target.dimension:
        return Affine()
    name = _substance(analyte)
    mol = {"mass concentration": 1.0 / _MOLAR_MASS[name], "substance concentration": 1.0}
    mol["charge concentration"] = 1.0 / _VALENCE.get(name, 1)
    return Affine(mol[source.dimension] / mol[target.dimension])


def _substance(analyte: str | None) -> str:
    name = (analyte or "").strip().casefold()
    return _ANALYTE_ALIASES.get(name, name)


def _canonical(unit: str) -> str | None:
    text = unit.strip().replace("µ", "u").replace("μ", "u")
    return text if text in _UNITS else _FOLDED.get(text.casefold())


def _analyte_hint(source: str | None, target: str | None, analyte: str | None) -> str:
    """What would make a pair of concentrations convertible, or nothing."""
    dimensions = {_UNITS[code].dimension for code in (source, target) if code is not None}
    if len(dimensions) < 2 or not dimensions <= _CONCENTRATIONS:
        return ""
    known = ", ".join(sorted(_MOLAR_MASS))
    found = "none" if analyte is None else repr(analyte)
    return f"; between mass and amount the plan's feature needs an analyte, found {found}, allowed: {known}"


@dataclass(frozen=True)
class Vital:
    """One measurement. low, high: what a monitor or laboratory can plausibly report for an adult, in `unit`."""

    name: str
    unit: str
    loinc: str
    low: float
    high: float
    analyte: str | None = None


_TABLE = (
    Vital("heart_rate", "/min", "8867-4", 20.0, 250.0),
    Vital("respiratory_rate", "/min", "9279-1", 1.0, 80.0),
    Vital("systolic_bp", "mm[Hg]", "8480-6", 30.0, 300.0),
    Vital("diastolic_bp", "mm[Hg]", "8462-4", 10.0, 200.0),
    Vital("mean_bp", "mm[Hg]", "8478-0", 20.0, 250.0),
    Vital("spo2", "%", "59408-5", 50.0, 100.0),
    Vital("temperature_c", "Cel", "8310-5", 25.0, 45.0),
    Vital("height_cm", "cm", "8302-2", 100.0, 250.0),
    Vital("weight_kg", "kg", "29463-7", 20.0, 350.0),
    Vital("glucose", "mg/dL", "2345-7", 5.0, 2000.0, "glucose"),
    Vital("creatinine", "mg/dL", "2160-0", 0.05, 40.0, "creatinine"),
    Vital("bun", "mg/dL", "3094-0", 0.0, 300.0, "bun"),
    Vital("lactate", "mmol/L", "2524-7", 0.1, 40.0, "lactate"),
    Vital("bilirubin", "mg/dL", "1975-2", 0.0, 80.0, "bilirubin"),
    Vital("cholesterol", "mg/dL", "2093-3", 30.0, 1000.0, "cholesterol"),
    Vital("albumin", "g/dL", "1751-7", 0.3, 8.0),
    Vital("hemoglobin", "g/dL", "718-7", 1.0, 26.0, "hemoglobin"),
    Vital("wbc", "10*3/uL", "6690-2", 0.0, 600.0),
    Vital("platelets", "10*3/uL", "777-3", 0.0, 3000.0),
    Vital("sodium", "mmol/L", "2951-2", 90.0, 210.0, "sodium"),
    Vital("potassium", "mmol/L", "2823-3", 1.0, 12.0, "potassium"),
    Vital("bicarbonate", "mmol/L", "1963-8", 1.0, 70.0, "bicarbonate"),
    Vital("ph", "[pH]", "2744-1", 6.5, 8.0),
)

VITALS: dict[str, Vital] = {vital.name: vital for vital in _TABLE}
