"""The sections of policy.toml: what a hospital decides by itself, with defaults that a small one can keep."""

import re
from datetime import datetime, time
from typing import Annotated, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from common.plan.base import NAME, NAME_WORDS, Count, Positive, Section, matching
from common.privacy.events import UNNOISED_KINDS
from common.secagg.session import Policy as SumPolicy

SiteName = Annotated[str, matching(NAME, NAME_WORDS)]
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Digits = Annotated[str, matching(r"[0-9a-f]{16,64}", "of 16 to 64 digits and letters from a to f")]
Prefixes = Annotated[tuple[Digits, ...], Field(strict=False)]
Kinds = Annotated[tuple[str, ...], Field(strict=False)]
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = re.compile(rf"{_TIME}-{_TIME}")
KINDS_IN_WORDS = {
    "levels": "per task and feature a weight of 1/8, 1/4, 1/2 or 1",
    "survey": "sums and histograms over the training rows",
    "update": "the model's change with tallies of the validation rows",
    "evaluation": "histograms and metrics of the test rows",
}


class Contradiction(ValueError):
    """Two keys that cannot both hold. key: the one that is named with its line."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


class SecureRules(Section):
    """`[secure]`: this site's own rules for secure sums, which no coordinator and no roster can lower."""

    required: bool = Field(
        default=True, description="Plans with plain sums, where the coordinator sees this site's numbers, are refused."
    )
    min_cohort: Annotated[int, Field(ge=3)] = Field(
        default=3, description="This site takes part in no sum over fewer sites (m)."
    )
    colluding_sites: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Other sites that may side with the coordinator without harm to this one (f)."
    )
    retries: Annotated[int, Field(ge=0)] = Field(
        default=1,
        description="Further rounds on a model that this site has helped to open a sum for, over the same sites.",
    )
    other_survivors: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="How many of these may be over other sites than before: the difference of two such sums is one "
        "site's part, so that 0 is the only private choice.",
    )
    blocked: Annotated[tuple[SiteName, ...], Field(strict=False)] = Field(
        default=(), description="Sites that this one takes part in no sum with, until a roster leaves them out."
    )

    def in_sums(self, least_sites: int) -> SumPolicy:
        """What secure aggregation asks of every round. least_sites: the approved plan's; the larger one counts."""
        rules = self.model_dump(exclude={"required"})
        return SumPolicy(**rules | {"min_cohort": max(self.min_cohort, least_sites)})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.other_survivors > self.retries:
            raise Contradiction(
                "other_survivors", f"found {self.other_survivors}; allowed is at most retries, which is {self.retries}"
            )
        return self


class Limits(Section):
    """`[limits]`: what a plan may ask for at most."""

    max_clip_norm: Positive = Field(default=1.0, description="Largest aggregation.clip_norm of a plan.")
    max_grad_norm: Positive = Field(
        default=1.0, description="Largest privacy.max_grad_norm of a plan with noise for patients."
    )
    max_rounds: Count = Field(
        default=200,
        description="Most rounds of training in one study, all its plans together. A round that is asked again word "
        "for word counts once, with another question each time.",
    )
    min_patients: Annotated[int, Field(ge=5)] = Field(
        default=10,
        description="Least number of training patients here: with fewer, nothing about rows leaves without noise.",
    )
    tell_unlike: bool = Field(
        default=True,
        description="Where this hospital's data look unlike the others' (another unit, a reversed code), the "
        "coordinator is told that, as one code; which column it is stays here. false: nobody outside is told.",
    )
    tasks: Names | None = Field(
        default=None,
        description="Tasks that may be trained, by the plan's names; without it, all that an approved plan names.",
    )
    features: Names | None = Field(
        default=None,
        description="Features that may be inputs of a model, by the plan's names; without it, all of an approved plan.",
    )
    columns: Names | None = Field(
        default=None,
        description="Columns of this hospital's tables that a plan may read at all, by the names that they have in the "
        "tables: also identifiers, labels, and the columns by which rows are chosen or divided; without it, all that "
        "an approved plan names.",
    )
    hours: str | None = Field(
        default=None,
        description='When training may run, local time, e.g. "20:00-06:00"; the end is no longer part of it. Without '
        "it: at any time.",
    )
    approved_plans: Prefixes = Field(
        default=(),
        description="First digits (16 or more) of the hashes of the plans that may run; none: every plan that this "
        "site has approved and signed.",
    )
    approved_code: Prefixes = Field(
        default=(),
        description="The same for the code that may run here; none: the code with which the plan was approved.",
    )

    @field_validator("hours")
    @classmethod
    def _two_times(cls, value: str | None) -> str | None:
        if value is not None and (_HOURS.fullmatch(value) is None or value[:5] == value[6:]):
            raise ValueError(f"found {value!r}; allowed are two different times of day such as '20:00-06:00'")
        return value

    def open_at(self, moment: datetime) -> bool:
        """Whether training may run at `moment`, local time."""
        if self.hours is None:
            return True
        first, last = map(time.fromisoformat, self.hours.split("-"))
        now = moment.time()
        return first <= now < last if first < last else now >= first or now < last


class Budget(Section):
    """`[budget]`: what all releases may cost a patient's privacy."""

    delta: Annotated[float, Field(gt=0.0, le=1e-2)] = Field(
        default=1e-5, description="The delta at which epsilon is stated and counted; well below 1 / patients."
    )
    epsilon_per_study: Positive = Field(default=4.0, description="Most epsilon of one study, all its plans together.")
    epsilon_per_year: Positive = Field(
        default=8.0, description="Most epsilon of a calendar year, all studies together."
    )
    allow_unnoised: Kinds = Field(
        description="What may leave without noise: a list of "
        + ", ".join(f"'{kind}' ({words})" for kind, words in KINDS_IN_WORDS.items())
        + "; [] for nothing. No epsilon can be given for a study that releases any of it.",
    )

    @field_validator("allow_unnoised")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for kind in value:
            if kind not in UNNOISED_KINDS:
                raise ValueError(f"found {kind!r}; allowed are {', '.join(map(repr, UNNOISED_KINDS))}, or none: []")
            if value.count(kind) > 1:
                raise ValueError(f"found {kind!r} twice; each may stand once")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        study, year = self.epsilon_per_study, self.epsilon_per_year
        if study > year and "epsilon_per_study" in self.model_fields_set:
            raise Contradiction(
                "epsilon_per_study", f"found {study:g}; allowed is at most epsilon_per_year, which is {year:g}"
            )
        if study > year:
            raise Contradiction(
                "epsilon_per_year",
                f"found {year:g}; allowed is at least epsilon_per_study, which is {study:g} where it is left out",
            )
        return self


class Policy(Section):
    """One policy.toml. `digest` is the SHA-256 of its bytes, in hexadecimal."""

    secure: SecureRules = SecureRules()
    limits: Limits = Limits()
    budget: Budget
    _digest: str = PrivateAttr(default="")

    @property
    def digest(self) -> str:
        return self._digest

    def with_digest(self, digest: str) -> Self:
        """This policy as read from bytes with this SHA-256."""
        self._digest = digest
        return self
