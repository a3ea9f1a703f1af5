"""Faults of one column in one hospital's table, drawn at random from a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.plan import Feature, Plan, Task
from common.vitals import Affine, converter, convertible

Values = np.ndarray
Change = Callable[[Values, np.random.Generator], Values]
LEAST_KNOWN = 20
KINDS = ("unit", "factor 10", "shift", "mirrored", "permuted", "reversed code")


@dataclass(frozen=True)
class Fault:
    """column: of the table. name: of the plan's feature or task. words: what was done to it."""

    kind: str
    column: str
    name: str
    words: str
    change: Change

    def of(self, table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
        """The table with this fault; cells without a number stay as they are."""
        numbers = pd.to_numeric(table[self.column], errors="coerce").to_numpy(dtype=np.float64)
        known = ~np.isnan(numbers)
        changed = table[self.column].to_numpy(dtype=object, copy=True)
        changed[known] = self.change(numbers[known], random)
        return table.assign(**{self.column: changed})


def possible(kind: str, plan: Plan, table: pd.DataFrame) -> list[Fault]:
    """All faults of one kind that this table can have, with at least LEAST_KNOWN numbers in the column.

    A unit is one that the plan's unit code can be converted from; numeric columns alone have units, shifts and scales.
    """
    found = []
    for about in (*plan.features, *plan.tasks):
        column = about.name if isinstance(about, Feature) else about.label
        if column not in table:
            continue
        numbers = pd.to_numeric(table[column], errors="coerce").dropna()
        if len(numbers) >= LEAST_KNOWN and numbers.nunique() > 1:
            found += [
                Fault(kind, column, about.name, words, change) for words, change in _changes(kind, about, numbers)
            ]
    return found


def _changes(kind: str, about: Feature | Task, numbers: "pd.Series[float]") -> list[tuple[str, Change]]:
    if kind == "permuted":
        return [("its rows in another order", lambda values, random: random.permutation(values))]
    if kind == "reversed code":
        coded = about.range is None and set(numbers.unique()) == {0.0, 1.0}
        return [("0 for 1, 1 for 0", lambda values, _: 1.0 - values)] if coded else []
    if about.range is None:
        return []
    if kind == "mirrored":
        ends = float(numbers.min() + numbers.max())
        return [("the scale the other way round", lambda values, _: ends - values)]
    if kind == "shift":
        spread = float(numbers.std())
        return [("moved by 1.5 to 4 standard deviations", lambda values, random: values + _far(random) * spread)]
    if kind == "factor 10":
        return [("ten times too large or small", lambda values, random: values * random.choice([0.1, 10.0]))]
    return [(f"in {unit}", _in_unit(convert)) for unit, convert in _units(about).items()]


def _units(about: Feature | Task) -> dict[str, Affine]:
    """Units of which a number is another number in the plan's."""
    units = convertible(about.unit, about.analyte)[1:]
    each = {unit: converter(unit, about.unit, about.analyte) for unit in units}
    return {unit: convert for unit, convert in each.items() if convert != Affine()}


def _in_unit(convert: Affine) -> Change:
    back = convert.inverse()
    return lambda values, _: np.asarray(back(values))


def _far(random: np.random.Generator) -> float:
    return float(random.uniform(1.5, 4.0) * random.choice([-1.0, 1.0]))
