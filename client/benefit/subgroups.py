"""Results by sex and age band, in which no group of few patients can be found, nor worked out from the others.

Which columns: the first feature of the plan whose name has the word 'age', and the first whose name has one of 'sex',
'gender', 'male' or 'female' (words are what stands between underscores). Counts are of patients, rounded to 5, so that
the difference of two tasks does not tell of single ones either; figures have two decimals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from common.plan import Feature, Plan

AGES = (18, 45, 65, 80)
_SEX = ("sex", "gender", "male", "female")
_UNKNOWN = "not known"
_ROUND = 5


@dataclass(frozen=True)
class Grouping:
    """feature: of the plan. names: of the groups. member: (n,) index of each row's group."""

    feature: str
    names: tuple[str, ...]
    member: NDArray[np.int64]


def groupings(plan: Plan, features: NDArray[np.float32]) -> dict[str, Grouping]:
    """'sex' and 'age', where the plan has such a feature. features: (n, F) in the plan's units."""
    found = {}
    for index, feature in enumerate(plan.features):
        words, values = feature.name.split("_"), features[:, index]
        if "sex" not in found and feature.kind != "numeric" and set(words) & set(_SEX):
            found["sex"] = _by_code(feature, words, values)
        if "age" not in found and feature.kind == "numeric" and "age" in words:
            found["age"] = _by_age(feature, values)
    return dict(sorted(found.items(), reverse=True))


def shown(counts: Sequence[int], *, least: int) -> list[bool]:
    """Which groups may be shown: none of fewer than `least` patients, nor one that the total and the others give away.

    What is hidden is at least two groups and at least `least` patients together, or everything.
    """
    hidden = {index for index, count in enumerate(counts) if 0 < count < least}
    while hidden and (len(hidden) < 2 or sum(counts[index] for index in hidden) < least):
        rest = [index for index, count in enumerate(counts) if count > 0 and index not in hidden]
        if not rest:
            break
        hidden.add(min(rest, key=lambda index: counts[index]))
    return [index not in hidden for index in range(len(counts))]


def patients_of(grouping: Grouping, chosen: NDArray[np.bool_], patients: NDArray[np.str_]) -> list[int]:
    """Patients of each group among the chosen rows; one whose rows lie in two groups counts in both."""
    return [len(np.unique(patients[chosen & (grouping.member == group)])) for group in range(len(grouping.names))]


def rounded(count: int) -> int:
    """`count` to the nearest multiple of 5."""
    return _ROUND * round(count / _ROUND)


def _by_code(feature: Feature, words: list[str], values: NDArray[np.float32]) -> Grouping:
    if feature.categories is not None:
        names = [f"{code:g}" if isinstance(code, float) else code for code in feature.categories]
    else:
        one = next((word for word in words if word in ("male", "female")), None)
        other = {"male": "female", "female": "male"}
        names = [f"{feature.name} = 0", f"{feature.name} = 1"] if one is None else [other[one], one]
    member = np.where(np.isnan(values), len(names), np.nan_to_num(values)).astype(np.int64)
    return Grouping(feature.name, (*names, _UNKNOWN), member)


def _by_age(feature: Feature, values: NDArray[np.float32]) -> Grouping:
    between = [f"{low} to {high - 1}" for low, high in pairwise(AGES)]
    names = (f"below {AGES[0]}", *between, f"{AGES[-1]} and above", _UNKNOWN)
    member = np.where(np.isnan(values), len(names) - 1, np.searchsorted(AGES, np.nan_to_num(values), side="right"))
    return Grouping(feature.name, names, member.astype(np.int64))
