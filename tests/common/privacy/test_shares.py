"""How much noise each site adds: the formula of every kind of plan, from the plan's numbers alone."""

import math
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest

from common.contribution import Contribution, stages
from common.errors import PlanError
from common.plan import Plan
from common.privacy.honest import against_coordinator, honest_sites
from common.privacy.mechanism import epsilon_of, mechanism
from common.privacy.shares import fixed_point, largest_noise, noise_steps

MakePlan = Callable[..., Plan]
Z, SITES = 1.25, 7
SUMS = {"secure": True, "min_sites": 5, "colluding_sites": 1, "clip_norm": 0.5}


def _plan(make_plan: MakePlan, **privacy: Any) -> Plan:
    return make_plan(aggregation=SUMS, privacy={"noise_multiplier": Z, **privacy} if privacy else {})


def _steps(contribution: Contribution) -> tuple[int, float]:
    """Steps of the noise in a roster of SITES, and steps per unit."""
    fixed = fixed_point(contribution, sites=SITES)
    return noise_steps(contribution, fixed), fixed.narrow_scale if contribution.narrow else fixed.wide_scale


def _questions(plan: Plan) -> list[Contribution]:
    return [Contribution(plan, kind, stage) for kind, each in stages(plan).items() for stage in each]  # type: ignore[arg-type]


def test_without_privacy_no_sum_has_noise(make_plan: MakePlan) -> None:
    for asked in _questions(_plan(make_plan)):
        assert _steps(asked)[0] == 0 and largest_noise(asked, sites=SITES) == 0.0


def test_a_hospitals_noise_is_in_training_alone(make_plan: MakePlan) -> None:
    plan = _plan(make_plan, unit="hospital", noise="shared")
    for asked in _questions(plan):
        steps, scale = _steps(asked)
        if asked.kind != "train":
            assert steps == 0
            continue
        wanted = Z * (0.5 * scale + math.sqrt(asked.narrow)) / math.sqrt(4)
        assert wanted <= steps <= wanted * (1 + 1e-5) + 1


def test_pooled_steps_are_calibrated_to_one_clipped_gradient(make_plan: MakePlan) -> None:
    plan = _plan(make_plan, unit="patient", noise="shared", max_grad_norm=2.0)
    steps, scale = _steps(train := Contribution(plan, "train"))
    wanted = Z * (2.0 / 16 * scale + math.sqrt(train.narrow)) / math.sqrt(4)
    assert wanted <= steps <= wanted * 1.001  # float32 of the sum and of the projection are counted beside it


@pytest.mark.parametrize(("noise", "shares"), [("local", 1), ("shared", 4)])
def test_surveys_and_evaluations_of_patients_are_noised(make_plan: MakePlan, noise: str, shares: int) -> None:
    plan = _plan(make_plan, unit="patient", noise=noise)
    assert honest_sites(plan) == 4
    counted = [asked for asked in _questions(plan) if asked.kind != "train"]
    assert {asked.kind for asked in counted} == {"evaluate", "query.survey"}
    for asked in counted:
        steps, scale = _steps(asked)
        wanted = Z * (asked.sensitivity * scale + math.sqrt(asked.wide)) / math.sqrt(shares)
        assert asked.sensitivity > 0 and scale == 2.0**20
        assert wanted <= steps <= wanted * (1 + 1e-5) + 1
        # Beyond ten standard deviations of the sum, and not far beyond.
        bound = largest_noise(asked, sites=SITES) / (steps / scale * math.sqrt(SITES))
        assert 8.0 < bound < 11.0


def test_local_noise_of_training_is_not_in_the_sum(make_plan: MakePlan) -> None:
    plan = _plan(make_plan, unit="patient")
    assert _steps(Contribution(plan, "train"))[0] == 0


def test_noise_takes_room_from_the_grid(make_plan: MakePlan) -> None:
    plain = fixed_point(Contribution(_plan(make_plan), "train"), sites=SITES)
    for z, factor in ((0.01, 1), (100.0, 2**9)):
        plan = make_plan(aggregation=SUMS, privacy={"unit": "hospital", "noise": "shared", "noise_multiplier": z})
        noisy = fixed_point(Contribution(plan, "train"), sites=SITES)
        assert plain.narrow_scale / noisy.narrow_scale in (factor, factor / 2)
    with pytest.raises(PlanError, match=r"leaves no room for the sum in 32 bits; lower aggregation.clip_norm"):
        loud = plan.model_copy(update={"privacy": plan.privacy.model_copy(update={"noise_multiplier": 1e8})})
        fixed_point(Contribution(loud, "train"), sites=SITES)


def test_alone_the_coordinator_faces_more_noise_than_with_colluders(make_plan: MakePlan) -> None:
    shared = _plan(make_plan, unit="patient", noise="shared")
    found, local = mechanism(shared), _plan(make_plan, unit="patient")
    alone = against_coordinator(shared, found)
    assert astuple(alone) == pytest.approx((Z * math.sqrt(5 / 4), *astuple(found)[1:3], *[Z * math.sqrt(5 / 4)] * 2))
    assert epsilon_of(shared, alone) < epsilon_of(shared, found)
    assert against_coordinator(local, mechanism(local, patients=9)) == mechanism(local, patients=9)
