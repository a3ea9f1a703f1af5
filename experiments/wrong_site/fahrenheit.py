"""A hospital that writes its temperatures in degrees Fahrenheit where the plan has Celsius, and does not say so."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from common.vitals import converter
from experiments.wrong_site.faults import LEAST_KNOWN
from experiments.wrong_site.study import Hospitals

CELSIUS, FAHRENHEIT = "Cel", "[degF]"


def in_fahrenheit(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """The table with these columns, in Celsius, in Fahrenheit."""
    convert = converter(CELSIUS, FAHRENHEIT, None)
    return table.assign(**{name: convert(pd.to_numeric(table[name], errors="coerce").to_numpy()) for name in columns})


def fahrenheit(plan: Path, folder: Path, work: Path, seeds: range) -> tuple[int, int, int]:
    """Each hospital in turn, in each split: those that name all their temperatures, some other column, and how many.

    A hospital counts if each temperature that it records has LEAST_KNOWN values there.
    """
    named = others = tried = 0
    for seed in seeds:
        hospitals = Hospitals(plan, folder, seed)
        wanted = [feature.name for feature in hospitals.plan.features if feature.unit == CELSIUS]
        for name in sorted(hospitals.clean):
            frame = hospitals.frame(name)
            columns = [column for column in wanted if column in frame and frame[column].notna().any()]
            if not columns or frame[columns].notna().sum().min() < LEAST_KNOWN:
                continue
            faulty = hospitals.with_table(name, in_fahrenheit(frame, columns), work)
            found = hospitals.new(hospitals.compare(faulty, [name]))[name]
            tried += 1
            named += set(columns) <= found
            others += bool(found - set(columns))
    return named, others, tried
