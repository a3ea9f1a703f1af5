"""The benchmarks run; what they measure is no test's business."""

import torch

from benchmarks import rounds, training
from benchmarks.measure import compare


def test_a_ratio_is_ours_over_reference() -> None:
    ratio = compare("x", lambda: sum(range(20_000)), lambda: sum(range(200)), pairs=5)
    assert ratio.ratio > 1.0 and ratio.lowest <= ratio.ratio <= ratio.highest and ratio.pairs == 5


def test_a_round_can_be_timed() -> None:
    assert rounds.one(3, 50, pairs=1).ours_s > 0


def test_training_can_be_timed(monkeypatch) -> None:
    monkeypatch.setattr(training, "ROWS", 64)
    ratios = list(training.run())
    assert [ratio.name.split(":")[0] for ratio in ratios] == [f"one epoch, batch {b}" for b in (32, 256, 1024)]
    assert torch.get_num_threads() == 1
