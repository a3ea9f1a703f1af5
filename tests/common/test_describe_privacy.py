"""`plan show` says whose part the noise hides, how well, and what it leaves open; only what holds."""

import re

import pytest

from common.plan.describe import describe
from common.privacy.accounting import epsilon
from common.privacy.hospital import noise_and_signal
from common.privacy.mechanism import mechanism, promised
from common.privacy.survey import PrivateSurvey

SECURE = {"secure": True}
SHARED = {"unit": "patient", "noise": "shared", "target_epsilon": 2.0, "expected_patients": 900}


def _text(plan) -> str:
    return "\n".join(line for heading, lines in describe(plan) for line in (heading, *lines))


@pytest.mark.parametrize("secure", [True, False])
def test_without_noise_nothing_is_promised(make_plan, secure: bool) -> None:
    text = _text(make_plan(aggregation={"secure": secure}))
    assert "No noise is added" in text and "what a sum says about one patient stays in it" in text
    assert "its norms before and after scaling, and histograms of the scores of its validation rows" in text
    for words in ("epsilon =", "ledger", "delta", "share of"):
        assert words not in text


def test_local_noise_names_target_noise_and_the_error_of_a_count(make_plan) -> None:
    plan = make_plan(privacy={"unit": "patient", "target_epsilon": 4.0, "delta": 1e-6, "expected_patients": 400})
    text, found = _text(plan), mechanism(plan, patients=200)
    assert "epsilon = 4 at delta = 1e-06, in all but the declared weights" in text
    assert f"noise of {found.noise_multiplier:.4g} times that" in text and "a hospital with 200 training" in text
    assert f"{3 * found.steps_per_round} steps, each over a random 8.000% of the patients" in text
    assert f"a count over 2 hospitals is then off by {PrivateSurvey(plan).noise(2):.3g} rows" in text
    assert f"{PrivateSurvey(plan).size} noised counts over its training rows" in text
    assert "makes all of its noise by itself" in text and "each with that hospital's own noise" in text
    assert "the two epsilons add up" in text and "number of training patients" in text
    for words in ("validation rows", "per-site mean", "Twice", "could study", "share of the noise"):
        assert words not in text


@pytest.mark.parametrize("colluding", [0, 2])
def test_shared_noise_says_who_has_to_be_honest(make_plan, colluding: int) -> None:
    plan = make_plan(privacy=SHARED, aggregation=SECURE | {"min_sites": 6, "colluding_sites": colluding})
    text = _text(plan)
    assert f"the shares of {6 - max(1, colluding)} hospitals make all of it" in text
    assert ("if 2 of them tell the coordinator theirs" in text) == (colluding == 2)
    assert "3 rounds of one step each" in text and "a random 1.778% of the patients of all hospitals" in text
    assert "and its share of noise" in text and "counts as two" in text
    for words in ("A sum is not noise", "norms before", "validation rows", "local_epochs", "epoch(s)"):
        assert words not in text


def test_a_given_multiplier_is_shown_with_the_epsilon_that_follows(make_plan) -> None:
    plan = make_plan(privacy={"unit": "patient", "noise_multiplier": 1.0})
    text, cost = _text(plan), epsilon(promised(plan, mechanism(plan, patients=500)), delta=1e-5)
    assert f"epsilon = {cost:.4g} at delta = 1e-05 at a hospital with 500 training patients" in text
    assert "times the other" in text and "The survey costs" not in text


def test_rows_of_a_patient_are_counted_as_the_plan_says(make_plan) -> None:
    privacy = {"unit": "patient", "noise_multiplier": 2.0, "rows_per_patient": 3}
    assert "its one row" in _text(make_plan(privacy=privacy))
    assert "the first 3 take part" in _text(make_plan(privacy=privacy, data={"patient": "patient", "row": "stay"}))


def test_a_hospitals_noise_is_held_against_its_signal(make_plan) -> None:
    plan = make_plan(privacy={"unit": "hospital", "noise": "shared", "target_epsilon": 4.0}, aggregation=SECURE)
    text = _text(plan)
    noise, signal = noise_and_signal(plan, 3)
    assert f"a norm of about {noise:.3g}, their updates together have at most {signal:.3g}" in text
    assert "There is no overall epsilon: survey and evaluation have no noise" in text
    patient = float(re.search(r"One patient's part in the updates alone has epsilon = ([\d.]+)", text).group(1))
    assert patient > 2 * 4.0  # half the noise over the distance costs more than twice as much
