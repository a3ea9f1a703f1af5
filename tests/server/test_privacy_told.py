"""result.json, page and terminal tell the privacy of a run, and no more than holds."""

import pytest

from common.privacy.mechanism import mechanism
from server.dashboard.privacy import meaning, noise_line
from server.privacy import privacy_of

SECURE = {"secure": True}


def _line(plan) -> str:
    return noise_line({"privacy": privacy_of(plan)}) or ""


def test_without_noise_no_epsilon_is_told(make_plan) -> None:
    assert privacy_of(make_plan()) == {"unit": "none"}
    assert "no epsilon can be given" in _line(make_plan())
    assert noise_line({}) is None


def test_shared_noise_tells_target_cost_and_multipliers(make_plan) -> None:
    rules = {"unit": "patient", "noise": "shared", "target_epsilon": 2.0}
    plan = make_plan(privacy=rules, aggregation=SECURE)
    facts, found = privacy_of(plan), mechanism(plan)
    assert 1.99 < facts["epsilon"] <= facts["target_epsilon"] == 2.0
    assert facts["noise_multiplier"] == found.noise_multiplier and facts["without_noise"] == ["levels"]
    assert "epsilon is at most 2 at delta = 1e-05" in _line(plan) and "but the declared weights" in _line(plan)


def test_local_noise_tells_only_what_is_the_same_at_every_hospital(make_plan) -> None:
    target = privacy_of(make_plan(privacy={"unit": "patient", "target_epsilon": 2.0}))
    assert not {"epsilon", "noise_multiplier"} & target.keys()
    given = make_plan(privacy={"unit": "patient", "noise_multiplier": 2.0})
    assert privacy_of(given)["noise_multiplier"] == 2.0 and "epsilon" not in privacy_of(given)
    assert "each hospital's ledger holds its epsilon" in _line(given)


@pytest.mark.parametrize("rules", [{"target_epsilon": 4.0}, {"noise_multiplier": 1.873}])
def test_a_hospitals_epsilon_is_that_of_its_updates(make_plan, rules) -> None:
    plan = make_plan(privacy={"unit": "hospital", "noise": "shared"} | rules, aggregation=SECURE)
    assert privacy_of(plan)["epsilon"] == pytest.approx(4.0, abs=5e-3)
    assert privacy_of(plan)["without_noise"] == ["levels", "survey", "evaluation"]
    assert "no overall epsilon" in _line(plan).lower().replace("there is ", "")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"unit": "patient", "target_epsilon": 4.0},
            "any one patient: no outcome is more than e^epsilon times, 55 here",
        ),
        ({"unit": "patient", "epsilon": 0.5}, "e^epsilon times, 1.6 here,"),
        ({"unit": "patient", "noise_multiplier": 1.0}, "e^epsilon times as likely"),
        (
            {"unit": "hospital", "epsilon": 40.0},
            "hospital: no outcome is more than e^epsilon times, more than a million here",
        ),
    ],
)
def test_epsilon_is_explained_where_it_is_named(facts, words: str) -> None:
    assert words in (meaning({"privacy": facts}) or "")


def test_what_is_not_named_is_not_explained() -> None:
    assert meaning({}) is meaning({"privacy": {"unit": "none"}}) is None
