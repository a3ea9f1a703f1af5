"""What all sections of a plan share: frozen, no unknown keys, no silent conversions."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """One table of federation.toml. Field descriptions are the reference in docs/federation.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
NAME_WORDS = "of lower-case letters, digits, '_' and '-', beginning with a letter or digit, at most 64 characters"
"""What sites and federations may be called in a roster."""


def matching(pattern: str, words: str) -> AfterValidator:
    """Lets through a text that is as `pattern` as a whole; else pydantic's error says `words`, not the pattern."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise PydanticCustomError("string_pattern_mismatch", "has to be {words}", {"words": words})
        return value

    return AfterValidator(check)


Name = Annotated[
    str,
    matching(
        r"[a-z][a-z0-9_]{0,63}",
        "of lower-case letters, digits and '_', beginning with a letter, at most 64 characters",
    ),
]
Column = Annotated[str, Field(min_length=1, max_length=200)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
