"""What a hospital decides by itself about secure sums: `[secure]` of its site.toml."""

from typing import Annotated

from pydantic import Field

from common.plan.base import Section

SiteName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class SecureRules(Section):
    """`[secure]`: this site's own policy for secure sums, which no coordinator and no roster can lower."""

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
