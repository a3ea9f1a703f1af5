"""The norm that clipping goes by, for vectors too long for a second copy."""

import numpy as np
import pytest

from common.privacy import clip_by_norm, l2_norm


@pytest.mark.parametrize("length", [0, 1, 127, 65_536, 65_537, 65_544, 131_073, 262_143, 999_999, 2_345_678])
def test_the_norm_is_that_of_one_sum_to_the_last_bit(length: int) -> None:
    vector = np.random.default_rng(length).standard_normal(length, dtype=np.float32)
    assert l2_norm(vector) == float(np.sqrt(np.square(vector, dtype=np.float64).sum()))


@pytest.mark.parametrize("clip_norm", [1e-3, 0.5, 1e6])
def test_clipping_in_place_gives_the_same_bits(clip_norm: float) -> None:
    update = np.random.default_rng(0).standard_normal(100_001, dtype=np.float32)
    before = update.copy()
    clipped, *norms = clip_by_norm(update, clip_norm=clip_norm)
    assert np.array_equal(update, before)
    again, *others = clip_by_norm(update, clip_norm=clip_norm, in_place=True)
    assert again is update and np.array_equal(again, clipped) and norms == others
