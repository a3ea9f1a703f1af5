"""`[site]` of site.toml: who a site is and where it keeps its own state."""

from typing import Annotated

from pydantic import Field

from client.policy.policy import POLICY_FILE, SiteName
from client.site_data import FileName
from common.plan.base import Section, matching

PLAN_FILE = "plan.json"


class SiteRules(Section):
    """`[site]`: who this site is and where it keeps its own state."""

    name: SiteName = Field(description="Name of the site: lower-case letters, digits, '_' and '-'.")
    device: Annotated[
        str, matching(r"auto|cpu|cuda:[0-9]+", "'auto', 'cpu' or 'cuda:' and a number, such as 'cuda:0'")
    ] = Field(default="auto", description="Where to train: 'auto', 'cpu' or 'cuda:N'.")
    keys: FileName = Field(default="keys", description="Folder with this site's keys.")
    policy: FileName = Field(default=POLICY_FILE, description="This hospital's own rules (docs/policy.md).")
    plan: FileName | None = Field(
        default=None,
        description=f"The plan that this site has approved; where not set, a {PLAN_FILE} beside site.toml.",
    )
    folder: FileName = Field(
        default=".", description="Folder for this site's own state; '.' is the folder that holds site.toml."
    )
