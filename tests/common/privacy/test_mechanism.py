"""From a plan to noise multipliers and events: the target is kept, and hardly any noise is wasted."""

import pytest

from common.errors import PlanError
from common.privacy.accounting import affordable, epsilon
from common.privacy.events import Gaussian, Spent, Unnoised
from common.privacy.mechanism import (
    Mechanism,
    evaluation_event,
    levels_event,
    mechanism,
    promised,
    round_event,
    split_name,
    survey_event,
    unnoised_kinds,
)

SECURE = {"secure": True}
LOCAL = {"unit": "patient", "target_epsilon": 4.0}
SHARED = {"unit": "patient", "noise": "shared", "target_epsilon": 2.0, "expected_patients": 800}


def _before(value: float) -> float:
    """The next smaller number of four significant digits."""
    digits, exponent = f"{value:.3e}".split("e")
    return float(f"{round(float(digits) * 1000) - 1}e{int(exponent) - 3}")


def _cost(*events: Gaussian) -> float:
    return epsilon([Spent(event, "", "") for event in events], delta=1e-5)


@pytest.mark.parametrize(
    ("privacy", "patients", "steps", "probability"),
    [(LOCAL, 200, 24, 16 / 200), (LOCAL, 9, 2, 1.0), (SHARED, None, 1, 16 / 800)],
)
def test_calibration_keeps_the_target_and_less_noise_would_not(
    make_plan, privacy, patients, steps, probability
) -> None:
    plan = make_plan(privacy=privacy, aggregation=SECURE)
    target, found = privacy["target_epsilon"], mechanism(plan, patients=patients)
    assert (found.sampling_probability, found.steps_per_round) == (probability, steps)
    count = 3 * steps
    survey = Gaussian(found.survey_multiplier)
    training = Gaussian(found.noise_multiplier, probability, count)
    for multiplier, kept, cost in (
        (found.survey_multiplier, 0.1 * target, lambda z: _cost(Gaussian(z))),
        (found.evaluation_multiplier, target, lambda z: _cost(Gaussian(z))),
        (found.noise_multiplier, target, lambda z: _cost(survey, Gaussian(z, probability, count))),
    ):
        assert float(f"{multiplier:.3e}") == multiplier
        assert cost(multiplier) <= kept < cost(_before(multiplier))
        # What is left of the target is less than one more step of the fourth digit costs; and that is little: the cost
        # falls with the multiplier, the slower the larger it is, so a step costs no more than its part of ten below it.
        step = cost(_before(multiplier)) - cost(multiplier)
        ten = cost(multiplier - 10 * (multiplier - _before(multiplier))) - cost(multiplier)
        assert 0.0 <= kept - cost(multiplier) < step <= ten / 10 + 1e-3
    assert _cost(survey, training) <= target


@pytest.mark.parametrize(("privacy", "patients"), [(LOCAL, 200), (SHARED, None)])
def test_a_whole_run_keeps_the_target_round_by_round(make_plan, privacy, patients) -> None:
    plan = make_plan(privacy=privacy, aggregation=SECURE)
    found, target = mechanism(plan, patients=patients), privacy["target_epsilon"]
    assert epsilon(promised(plan, found), delta=1e-5) <= target
    once = round_event(plan, found)
    for had in range(3):
        gone = [levels_event(plan), survey_event(plan, found), *[once] * had]
        assert affordable(gone, once, epsilon=target, delta=1e-5, most=3 - had) == 3 - had
        assert affordable(gone, once, epsilon=target, delta=1e-5, most=1) == 1
    done = [survey_event(plan, found), *[once] * 3]
    assert affordable(done, evaluation_event(plan, found), epsilon=target, delta=1e-5, most=2) == 1


def test_a_given_multiplier_is_that_of_every_release(make_plan) -> None:
    plan = make_plan(privacy={"unit": "patient", "noise_multiplier": 1.25})
    assert mechanism(plan, patients=160) == Mechanism(1.25, 0.1, 20, 1.25, 1.25)
    with pytest.raises(ValueError, match="own training patients"):
        mechanism(plan)


def test_shared_noise_follows_from_the_plan_alone(make_plan) -> None:
    plan = make_plan(privacy=SHARED, aggregation=SECURE)
    assert mechanism(plan) == mechanism(plan, patients=1) == mechanism(plan, patients=12_345)


def test_events_of_patient_level_noise(make_plan) -> None:
    plan = make_plan(privacy=LOCAL)
    found = Mechanism(1.5, 0.1, 20, 8.0, 2.0)
    split = split_name(plan)
    assert survey_event(plan, found) == Spent(Gaussian(8.0), split, "train")
    assert round_event(plan, found) == Spent(Gaussian(1.5, 0.1, 20), split, "train")
    assert evaluation_event(plan, found) == Spent(Gaussian(2.0), split, "test")
    assert promised(plan, found) == [
        Spent(Unnoised("levels"), split, "train"),
        Spent(Gaussian(8.0), split, "train"),
        Spent(Gaussian(1.5, 0.1, 60), split, "train"),
        Spent(Gaussian(2.0), split, "test"),
    ]


def test_events_without_noise_are_named(make_plan) -> None:
    plan = make_plan()
    kinds = [each.event.kind for each in promised(plan, mechanism(plan)) if isinstance(each.event, Unnoised)]
    assert kinds == ["levels", "survey", "update", "update", "update", "evaluation"]


def test_a_hospitals_noise_costs_a_patient_twice_the_distance(make_plan) -> None:
    plan = make_plan(privacy={"unit": "hospital", "noise": "shared", "target_epsilon": 4.0}, aggregation=SECURE)
    found = mechanism(plan)
    assert (found.sampling_probability, found.steps_per_round) == (1.0, 1)
    assert (
        _cost(Gaussian(found.noise_multiplier, 1.0, 3))
        <= 4.0
        < _cost(Gaussian(_before(found.noise_multiplier), 1.0, 3))
    )
    assert round_event(plan, found).event == Gaussian(found.noise_multiplier / 2)
    assert survey_event(plan, found).event == Unnoised("survey")
    assert evaluation_event(plan, found).event == Unnoised("evaluation")


def test_a_target_that_no_noise_keeps_is_a_plan_error(make_plan) -> None:
    plan = make_plan(privacy={"unit": "patient", "target_epsilon": 1e-9, "delta": 1e-15})
    with pytest.raises(PlanError, match="target_epsilon"):
        mechanism(plan, patients=100)


@pytest.mark.parametrize(
    "change", [{"split": {"salt": "x"}}, {"split": {"train": 0.6, "test": 0.3}}, {"seeds": {"split": 1}}]
)
def test_a_split_has_another_name_where_patients_may_fall_elsewhere(make_plan, change) -> None:
    assert split_name(make_plan(**change)) != split_name(make_plan())
    assert split_name(make_plan(seeds={"training": 5}, training={"rounds": 9})) == split_name(make_plan())


@pytest.mark.parametrize(
    "privacy",
    [
        {},
        LOCAL,
        SHARED,
        {"unit": "patient", "noise_multiplier": 1.0},
        {"unit": "hospital", "noise": "shared", "noise_multiplier": 2.0},
    ],
)
def test_what_leaves_without_noise_is_known_without_a_table(make_plan, privacy) -> None:
    plan = make_plan(privacy=privacy, aggregation=SECURE)
    patients = None if privacy.get("noise") == "shared" else 200
    spent = promised(plan, mechanism(plan, patients=patients) if plan.privacy.per_patient else mechanism(plan))
    found = {each.event.kind for each in spent if isinstance(each.event, Unnoised)}
    assert set(unnoised_kinds(plan)) == found
