"""The plan names noise that hides nobody, or drowns everything, before anything is made of it."""

import pytest

from common.errors import PlanError
from tests.private import private_plan


@pytest.mark.parametrize("multiplier", [1e-9, 0.00999, 1.1e6, 1e300, float("nan"), 0, -1.0])
def test_a_multiplier_out_of_reason_is_refused_with_key_value_and_range(multiplier: float) -> None:
    with pytest.raises(PlanError) as caught:
        private_plan(noise_multiplier=multiplier)
    text = str(caught.value)
    assert all(part in text for part in ("privacy.noise_multiplier", f"{multiplier:g}", "0.01 to 1,000,000"))


@pytest.mark.parametrize("multiplier", [0.01, 1.0, 1e6])
def test_both_ends_are_allowed(multiplier: float) -> None:
    assert private_plan(noise_multiplier=multiplier).privacy.noise_multiplier == multiplier
