"""`[start]`: a federation that goes on from an earlier model."""

from typing import Annotated

from pydantic import Field

from common.plan.base import Section, matching


class Start(Section):
    """`[start]`: an earlier model's encoder, heads and input scaling; without this section all begins anew."""

    vector: Annotated[str, matching(r"[0-9a-f]{64}", "of 64 digits and letters from a to f")] = Field(
        description="SHA-256 of what round 1 begins with, as `consilium plan start` works it out from a model file; "
        "a site refuses a round 1 with anything else."
    )
    freeze_encoder: bool = Field(
        default=True,
        description="true: the encoder stays as it was, and heads and linear path alone are trained; not with noise.",
    )
