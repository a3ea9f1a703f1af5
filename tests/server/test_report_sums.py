"""What the page says of the sums: who could see what, and who could work out whose part."""

from typing import Any

import pytest

from server.dashboard.report import page
from tests.server.test_report import Parsed, deployed, small

__all__ = ["deployed", "small"]  # fixtures


def test_plain_sums_are_called_plain(small: dict[str, Any]) -> None:
    words = "in 15 rounds. No record left a hospital. "
    words += "Sums were plain: the coordinator saw each hospital's update and tallies."
    assert f"Three hospitals trained one model for six tasks {words}" in Parsed(page(small)).visible()


def test_rules_of_the_secure_sums_are_said(deployed: dict[str, Any]) -> None:
    deployed["secure_aggregation"] = {"threshold": 4, "committee": 6, "colluding_sites": 1, "min_cohort": 5}
    visible = Parsed(page(deployed)).visible()
    assert "No sum was opened over fewer than 5 hospitals. Opening one took 4 of the 6 hospitals" in visible
    assert "One hospital could have sided with the coordinator" in visible
    deployed["secure_aggregation"]["colluding_sites"] = 0
    assert "trusts that no hospital sided with the coordinator" in Parsed(page(deployed)).visible()
    deployed["secure_aggregation"]["colluding_sites"] = 3
    assert "Up to 3 hospitals could have sided" in Parsed(page(deployed)).visible()


def test_only_a_simulation_shows_single_hospitals_beside_secure_sums(small: dict[str, Any]) -> None:
    words = "Only a simulation shows single hospitals' figures"
    assert words not in Parsed(page(small)).visible()  # plain sums hide nothing
    small["secure"] = True
    assert words in Parsed(page(small)).visible()
    small["sites"] = {}  # a deployed run knows none
    assert words not in Parsed(page(small)).visible()


def test_two_holders_of_a_task_are_told_that_each_learns_the_others_part(small: dict[str, Any]) -> None:
    task = next(iter(small["tasks"].values()))
    task["per_site"] = dict(list(task["per_site"].items())[:2])
    one, other = task["per_site"]
    words = f"Only {one} and {other} hold this task: each can work out the other's part"
    for secure, f, said in ((True, 0, True), (True, 1, False), (False, 0, False)):
        small |= {"secure": secure, "secure_aggregation": {"colluding_sites": f}}
        assert (words in Parsed(page(small)).visible()) == said
    small |= {"secure": True, "secure_aggregation": {"colluding_sites": 0}}
    task["per_site"][other]["train_n"] = 0
    assert words not in Parsed(page(small)).visible()


def test_a_result_that_does_not_say_how_it_was_summed_claims_nothing(small: dict[str, Any]) -> None:
    del small["secure"]
    visible = Parsed(page(small)).visible()
    for words in ("Sums were", "Masked", "Unmasked", "plain mode"):
        assert words not in visible


@pytest.mark.parametrize("secure", [True, False])
def test_what_was_left_out_and_why_is_said_in_both_modes(small: dict[str, Any], secure: bool) -> None:
    reason = "2 sites have labels; a secure sum needs 3 (colluding_sites + 2)"
    small |= {"secure": secure, "left_out": {"tasks": {"sepsis": reason}, "features": {"lactate": reason}}}
    assert Parsed(page(small)).visible().count(reason) == 2
