"""What all sections of a plan share: frozen, no unknown keys, no silent conversions."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """One table of federation.toml. Field descriptions are the reference in docs/federation.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Column = Annotated[str, Field(min_length=1, max_length=200)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
