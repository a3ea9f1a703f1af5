"""`[survey]`: what follows before round 1 where a site's data are unlike the other sites'."""

from typing import Literal

from pydantic import Field

from common.plan.base import Section

LEAST_SITES = 3
"""A site compares itself with the sum of two others at least: with one, that sum would be this hospital's own."""


class SurveyRules(Section):
    """`[survey]`: each site holds its columns against the sum of the others'."""

    unlike: Literal["warn", "stop", "off"] = Field(
        default="warn",
        description="What follows where a site says that its data are unlike the others' (another unit, a reversed "
        "code): 'warn': the run goes on and names it; 'stop': the run ends before round 1; 'off': nothing is compared, "
        "and a sum less is made. With privacy.unit = 'patient' nothing is compared either.",
    )

    @property
    def compares(self) -> bool:
        """Whether sites are asked to compare themselves, where the plan has exact sums."""
        return self.unlike != "off"
