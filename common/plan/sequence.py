"""`[sequence]`: what is known hour by hour, beside the one row of each stay."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from common.plan.base import Column, Section
from common.plan.data import Feature

_MOST_HOURS = 1000


class Sequence(Section):
    """`[sequence]`: a table with one row per stay and hour, and the columns of it that are inputs."""

    hour: Column = Field(
        default="hour", description="Column of the hourly tables with the hour of the stay, a whole number from 0."
    )
    hours: Annotated[int, Field(ge=1, le=_MOST_HOURS)] = Field(
        description="So many hours are inputs, 0 to hours - 1; later ones can be in labels, and are never inputs."
    )
    features: Annotated[tuple[Feature, ...], Field(strict=False, min_length=1)] = Field(
        description="The hourly columns that are inputs, written like `[[features]]`; numeric ones only. "
        "Their names differ from those of all other features."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for feature in self.features:
            if feature.kind != "numeric":
                raise ValueError(
                    f"feature {feature.name!r} is {feature.kind}; features of a sequence are numeric, "
                    "what does not change with the hours belongs to [[features]]"
                )
            if feature.name == self.hour:
                raise ValueError(f"feature {feature.name!r} is the column of the hour; it cannot be an input")
        return self
