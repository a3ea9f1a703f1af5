"""Which sums a site takes part in: the approved plan and the site's own rules, whichever asks for more."""

from pathlib import Path

import pytest

from client.config import load_site
from client.session import Session, close_sessions
from tests.secure import NAMES, build


@pytest.mark.parametrize(("min_sites", "own", "least"), [(2, 3, 3), (4, 3, 4), (3, 4, 4)])
def test_a_site_demands_what_its_plan_and_its_own_rules_ask_for(
    min_sites: int, own: int, least: int, tmp_path: Path
) -> None:
    federation = build(tmp_path, 4, aggregation={"min_sites": min_sites})
    toml = federation.sites[NAMES[0]]
    with open(toml, "a", encoding="utf-8") as file:
        file.write(f"\n[secure]\nmin_cohort = {own}\nblocked = ['elsewhere']\n")
    policy = Session(load_site(toml), federation.plan).secure.party.policy
    close_sessions()
    assert (policy.min_cohort, policy.blocked) == (least, ("elsewhere",))
