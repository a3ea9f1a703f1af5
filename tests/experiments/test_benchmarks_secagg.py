"""The benchmark of masks runs, and both sides of it do the work that it says."""

import numpy as np

from benchmarks import secagg
from common.secagg.fixedpoint import FixedPoint
from common.secagg.keystream import Mask, apply_masks


def test_both_ratios_can_be_timed() -> None:
    assert secagg.against_aes(2, 1000, pairs=1).ours_s > 0
    assert secagg.against_flower(2, 1000, pairs=1).reference_s > 0


def test_ours_is_the_masked_update() -> None:
    update, keys = np.linspace(-0.01, 0.01, 500, dtype=np.float32), [bytes([i]) * 32 for i in range(3)]
    masked, none = secagg.ours(update, keys), np.zeros(0, np.uint64)
    apply_masks([Mask(key, negative=i % 2 == 0) for i, key in enumerate(keys)], masked, none)
    fixed = FixedPoint.fit(clip_norm=1.0, sites=3)
    assert np.abs(fixed.decode(masked, none) - update).max() < 1 / fixed.narrow_scale


def test_flower_masks_as_its_mod_does() -> None:
    masked = secagg.flower(np.zeros(2000, np.float32), [bytes([i, 0, 0, 0]) * 8 for i in range(1, 4)])
    assert [array.shape for array in masked] == [(1,), (2000,)]
    assert len(np.unique(masked[1])) > 1990 and masked[1].min() >= 0 and masked[1].max() < 2**32
