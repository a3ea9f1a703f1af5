"""Unit 'hospital': the two numbers, and where a run is warned of or not begun."""

import numpy as np
import pytest

from common.model.layout import Layout
from common.privacy.hospital import doubtful, hopeless, noise_and_signal


def _plan(make_plan, multiplier: float, **sums):
    rules = {"unit": "hospital", "noise": "shared", "noise_multiplier": multiplier}
    return make_plan(privacy=rules, aggregation={"secure": True, "clip_norm": 0.5} | sums)


@pytest.mark.parametrize(("sums", "sites", "shares"), [({}, 3, 2), ({"min_sites": 8, "colluding_sites": 2}, 12, 6)])
def test_noise_is_as_long_as_drawn_shares(make_plan, sums, sites: int, shares: int) -> None:
    plan = _plan(make_plan, 4.0, **sums)
    random = np.random.default_rng(0)
    drawn = random.normal(0.0, 4.0 * 0.5 / np.sqrt(shares), (200, sites, Layout(plan).parameters)).sum(axis=1)
    noise, signal = noise_and_signal(plan, sites)
    assert noise == pytest.approx(np.linalg.norm(drawn, axis=1).mean(), rel=0.02)
    assert signal == sites * 0.5


def test_warned_above_the_signal_and_refused_above_ten_times(make_plan) -> None:
    noise, signal = noise_and_signal(_plan(make_plan, 1.0), 3)
    for ratio, warned, refused in ((0.99, False, False), (1.01, True, False), (9.9, True, False), (10.1, True, True)):
        plan = _plan(make_plan, ratio * signal / noise)
        assert (doubtful(plan, 3) is not None, hopeless(plan, 3) is not None) == (warned, refused)


def test_the_sentence_holds_both_numbers(make_plan) -> None:
    plan = _plan(make_plan, 50.0)
    noise, signal = noise_and_signal(plan, 3)
    assert f"{noise:.3g}" in hopeless(plan, 3) and f"{signal:.3g}" in hopeless(plan, 3)


def test_other_units_have_nothing_to_be_warned_of(make_plan) -> None:
    for plan in (make_plan(), make_plan(privacy={"unit": "patient", "noise_multiplier": 1e3})):
        assert hopeless(plan, 3) is None and doubtful(plan, 3) is None
