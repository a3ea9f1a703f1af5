"""One table divided among virtual hospitals, patient by patient: alike, or unlike in labels, size or features."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from common.errors import PlanError
from common.plan.base import Section

Index = NDArray[np.int64]
_DRAWS = 1_000  # of proportions, until no hospital has fewer patients than asked for


class Rule(Section):
    """How patients are divided."""

    by: Literal["column", "iid", "labels", "quantity", "feature"] = Field(
        description="'column': one hospital for each value of `column`. 'iid': alike. 'labels': shares of the values "
        "of `column` drawn from a Dirichlet distribution (Hsu et al. 2019). 'quantity': sizes drawn likewise. "
        "'feature': neighbours in the numbers of `column`."
    )
    sites: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="How many hospitals; not with 'column', which says it itself."
    )
    column: str | None = Field(default=None, description="Of the table; not with 'iid' and 'quantity'.")
    alpha: Annotated[float, Field(gt=0.0, le=1e6)] = Field(
        default=1.0, description="Of the Dirichlet distribution: large for hospitals that are alike, small for unlike."
    )
    mixed: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.0, description="With 'feature': share of patients who are at any hospital."
    )
    min_patients: Annotated[int, Field(ge=1)] = Field(default=10, description="Fewest patients of a hospital.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.by == "column") != (self.sites is None):
            raise ValueError(f"by = {self.by!r} goes {'without' if self.by == 'column' else 'with'} 'sites'")
        if (self.by in ("iid", "quantity")) != (self.column is None):
            raise ValueError(f"by = {self.by!r} goes {'with' if self.column is None else 'without'} 'column'")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return () if self.column is None else (self.column,)


def divided(frame: pd.DataFrame, patients: NDArray[np.object_], rule: Rule, seed: int) -> dict[str, Index]:
    """Name of a hospital -> row numbers, in the order of the table. patients: (n,) whose row it is.

    What a patient's first row says of `column` counts for all rows of the patient. Raises PlanError where the rule
    cannot be kept, such as more hospitals than there are patients for.
    """
    _, first, whose = np.unique(patients, return_index=True, return_inverse=True)
    values = None if rule.column is None else frame[rule.column].iloc[first]
    random = np.random.default_rng(np.random.SeedSequence([seed, 0x9A27]))
    if rule.by == "column" and values is not None:
        names, of_patient = np.unique(values.astype(str).to_numpy(dtype=object).astype(str), return_inverse=True)
        labels = [_name(name) for name in names]
        if len(set(labels)) < len(labels):
            raise PlanError(f"column {rule.column!r}: two of its values give one name of a hospital.")
    else:
        of_patient = _drawn(rule, values, len(first), random)
        labels = [f"site-{number:0{len(str(rule.sites))}d}" for number in range(1, (rule.sites or 0) + 1)]
    counts = np.bincount(of_patient, minlength=len(labels))
    if counts.min() < rule.min_patients:
        few = labels[int(counts.argmin())]
        raise PlanError(
            f"[partition]: {few} would have {counts.min()} patients; min_patients is {rule.min_patients}. Fewer "
            "hospitals, a larger alpha or a smaller min_patients help."
        )
    return {label: np.flatnonzero(of_patient[whose] == number) for number, label in enumerate(labels)}


def _drawn(rule: Rule, values: "pd.Series | None", patients: int, random: np.random.Generator) -> Index:
    """(patients,) number of each one's hospital."""
    sites = rule.sites or 1
    if rule.by == "iid":
        return np.asarray(random.permutation(np.arange(patients) % sites))
    if rule.by == "feature":
        return _neighbours(rule, pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64), random)
    groups = np.zeros(patients, dtype=np.int64) if values is None else pd.factorize(values, use_na_sentinel=False)[0]
    result = np.zeros(patients, dtype=np.int64)
    for _ in range(_DRAWS):
        for group, shares in _shares(rule, int(groups.max()) + 1, random):
            own = random.permutation(np.flatnonzero(groups == group))
            cuts = np.round(np.cumsum(shares)[:-1] * len(own)).astype(np.int64)
            for site, part in enumerate(np.split(own, cuts)):
                result[part] = site
        if np.bincount(result, minlength=sites).min() >= rule.min_patients:
            break
    return result


def _shares(rule: Rule, groups: int, random: np.random.Generator) -> Iterator[tuple[int, NDArray[np.float64]]]:
    for group in range(groups):
        yield group, random.dirichlet(np.full(rule.sites or 1, rule.alpha))


def _neighbours(rule: Rule, values: NDArray[np.float64], random: np.random.Generator) -> Index:
    """Equal blocks in the order of `values`; unknown ones, and a share of all, are anywhere."""
    place = np.empty(len(values))
    order = np.lexsort((random.random(len(values)), values))
    place[order] = (np.arange(len(values)) + 0.5) / len(values)
    anywhere = np.isnan(values) | (random.random(len(values)) < rule.mixed)
    place[anywhere] = random.random(int(anywhere.sum()))
    ranks = np.argsort(np.argsort(place, kind="stable"), kind="stable")
    return np.asarray(ranks * (rule.sites or 1) // len(values))


def _name(value: str) -> str:
    """A value as the name of a hospital."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in value.lower())
    return kept.strip("-")[:60] or "unknown"
