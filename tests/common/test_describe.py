"""`plan show`: what the sums mean is said plainly, and only what holds."""

import re

import pytest

from common.associations import Associations
from common.plan.describe import describe
from common.privacy.shares import rounding_error


def _text(plan) -> str:
    return "\n".join(line for heading, lines in describe(plan) for line in (heading, *lines))


def test_plain_sums_show_each_hospital_and_promise_nothing(make_plan) -> None:
    text = _text(make_plan(aggregation={"secure": False}))
    assert "the coordinator sees each hospital's update and tallies" in text
    assert "how many rows each hospital has" in text
    for words in ("Sums are secure", "mask", "colluding", "With three hospitals"):
        assert words not in text


def test_secure_sums_say_what_is_seen_and_whom_that_trusts(make_plan) -> None:
    text = _text(make_plan(aggregation={"secure": True}))
    assert "From each sum the coordinator learns that sum, and nothing else about a hospital's numbers" in text
    assert "sets that differ by one hospital tell that hospital's part" in text
    assert "required in every sum there are none: min_sites (here 3)" in text
    assert "even if the coordinator lies, as long as no hospital sides with it" in text
    assert "A round needs 3 sites; a task or feature that fewer than 2 sites hold is left out." in text
    assert "A sum is not noise" in text and "only two hold one, each can work out the other's part" in text
    for words in ("Sums are plain", "sees each hospital's update"):
        assert words not in text


@pytest.mark.parametrize(("colluding", "most"), [(1, "at most one hospital sides"), (4, "at most 4 hospitals side")])
def test_colluding_sites_are_said_in_words(make_plan, colluding: int, most: str) -> None:
    text = _text(make_plan(aggregation={"secure": True, "colluding_sites": colluding}))
    assert most in text and f"colluding_sites = {colluding}" in text
    assert f"takes at least {colluding + 2} hospitals" in text and "only two hold one" not in text


def test_comparison_is_told_and_what_follows_from_it(make_plan) -> None:
    warn, stop, off = (_text(make_plan(survey={"unlike": each})) for each in ("warn", "stop", "off"))
    size = Associations(make_plan()).size
    assert f"{size:,} sums over these rows" in warn and "(of three sites: of two)" in warn
    assert "limits.tell_unlike" in warn and "the run goes on (survey.unlike)" in warn
    assert "the run ends before round 1 (survey.unlike)" in stop
    noise = {"unit": "patient", "noise": "local", "noise_multiplier": 1.0}
    for text in (off, _text(make_plan(privacy=noise))):
        assert "unlike" not in text and "goes back to every site" not in text


NOTHING, ONE = "no dropout at any step", "one hospital may vanish after its report"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, ONE),
        ({"absent_members": 1}, ONE),
        ({"absent_members": 0}, NOTHING),
        ({"colluding_sites": 1}, f"learns only the sum of the other two; {NOTHING}"),
        ({"colluding_sites": 1, "absent_members": 0}, f"learns only the sum of the other two; {NOTHING}"),
        ({"colluding_sites": 1, "absent_members": 1}, None),
        ({"colluding_sites": 2}, None),
        ({"absent_members": 2}, None),
        ({"min_sites": 4}, None),
    ],
)
def test_three_hospitals_are_told_their_case_where_three_are_possible(make_plan, rules, words: str | None) -> None:
    text = _text(make_plan(aggregation={"secure": True} | rules))
    assert ("With three hospitals" in text) == (words is not None)
    if words is not None:
        assert f"{words}. Two colluding hospitals always learn the third." in text


@pytest.mark.parametrize(("colluding", "absent", "least"), [(0, 0, 1), (0, 2, 5), (3, 4, 12)])
def test_absent_members_name_the_hospitals_they_take(make_plan, colluding: int, absent: int, least: int) -> None:
    text = _text(make_plan(aggregation={"secure": True, "colluding_sites": colluding, "absent_members": absent}))
    assert (f"takes {max(least, 3)} hospitals or more" in text) == (absent > 0)
    assert f"absent_members = {absent}" in text


@pytest.mark.parametrize("clip", [0.5, 0.3, 1e-3, 1e6])
def test_rounding_bound_holds_as_it_is_written(make_plan, clip: float) -> None:
    plan = make_plan(aggregation={"secure": True, "clip_norm": clip})
    found = re.findall(r"(\S+) with (\d+) hospitals", _text(plan))
    assert [int(sites) for _, sites in found] == [3, 10, 100]
    for written, sites in found:
        exact = rounding_error(plan, int(sites))
        assert exact <= float(written) <= 1.1 * exact
