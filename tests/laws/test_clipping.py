import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.errors import NonFiniteUpdate
from common.privacy import clip_by_norm
from tests.laws.asserts import assert_clip_bounds_norm

_VALUES = st.floats(-1e6, 1e6, width=32)


@given(arrays(np.float32, st.integers(1, 200), elements=_VALUES), st.floats(1e-3, 1e3))
def test_clip_bounds_norm(update: np.ndarray, clip_norm: float) -> None:
    assert_clip_bounds_norm(clip_by_norm, update, clip_norm)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_broken_update_is_refused(broken: float) -> None:
    with pytest.raises(NonFiniteUpdate):
        clip_by_norm(np.array([0.0, broken], dtype=np.float32), clip_norm=1.0)
