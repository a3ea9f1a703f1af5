"""What the training benchmarks count and compare; what they measure is no test's business."""

import math
import re

import pytest
import torch

from benchmarks import training_encoders, training_heads
from benchmarks.measure import ratio_of, take_turns
from benchmarks.training_encoders import Work, multiply_adds, plan_of
from benchmarks.training_heads import Problem, separate_loss
from common.model import Layout
from common.plan import plan_from_dict


def test_runs_take_turns_and_the_first_turn_is_not_counted() -> None:
    order: list[str] = []
    ticks = iter(range(100))
    times = take_turns(*(lambda n=n: order.append(n) for n in "abc"), turns=2, clock=lambda: float(next(ticks)))
    assert order == list("abc" * 3) and times == [(1.0, 1.0, 1.0)] * 2
    ratio = ratio_of("x", [(2.0, 1.0), (8.0, 1.0), (3.0, 1.0)])
    assert (ratio.ratio, ratio.lowest, ratio.highest, ratio.pairs) == (3.0, 2.0, 8.0, 3)


@pytest.mark.parametrize("linear_path", [True, False])
def test_multiply_adds_of_an_mlp_agree_with_a_count_by_hand(linear_path: bool) -> None:
    batch, hidden, tasks = 8, (7, 5), 3
    content = {
        "federation": {"name": "bench"},
        "data": {"patient": "p"},
        "features": [{"name": f"x{i}", "range": [-1, 1]} for i in range(4)],
        "tasks": [{"name": f"t{i}", "label": f"y{i}"} for i in range(tasks)],
        "model": {"hidden": list(hidden), "linear_path": linear_path},
        "training": {"local_epochs": 1, "min_local_steps": 1, "batch_size": batch},
    }
    plan = plan_from_dict(content, source="test")
    inputs = Layout(plan).columns.inputs
    first, second, heads, linear = inputs * 7, 7 * 5, 5 * tasks, inputs * tasks * linear_path
    forward = first + second + heads + linear
    # Every product once more for its weights; once more for its inputs where these come from a layer before.
    assert multiply_adds(Work.of(plan, batch)) == (2 * forward + second + heads, (batch, inputs, 7))


@pytest.mark.parametrize("encoder", ["tcn", "lstm", "gru", "attention"])
def test_every_sequence_is_counted_wholly(encoder: str) -> None:
    """At least every weight that sees the hours, once per hour, forward and backward; the hours are no parameters'."""
    plan = plan_of(encoder, 4)
    each, (rows, _, columns) = multiply_adds(Work.of(plan, 4))
    of_hours = [s for s in Layout(plan).segments if s.name.startswith("sequence.") and s.name.endswith("weight")]
    weights = sum(math.prod(segment.shape) for segment in of_hours)
    assert 2 * plan.hours * weights < each < 4 * plan.hours * weights
    assert rows == 4 * plan.hours and columns >= plan.model.width


def test_each_encoder_can_be_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"ROWS": 16, "TURNS": 1, "BATCHES": (8,), "SQUARE": 32, "_REPEATED": 2**18}
    for name, value in small.items():
        monkeypatch.setattr(training_encoders, name, value)
    ratios = list(training_encoders.run())
    assert [ratio.name.split(", batch")[0] for ratio in ratios] == list(training_encoders.NAMES.values())
    for ratio in ratios:
        assert 0 < ratio.ratio < math.inf
        assert re.match(r"[\d,]+ samples per second and core, [\d,]+ multiply-adds each; ", ratio.note)


def test_the_summaries_are_a_table_without_hourly_tasks() -> None:
    plan, hourly = plan_of("summaries", 32), plan_of("tcn", 32)
    assert plan.sequence is None and len(plan.features) == len(hourly.features) + 4 * len(hourly.hour_features)
    assert len(plan.tasks) == len(hourly.tasks) - len(hourly.hourly)


def test_separate_heads_have_the_gradients_of_fused_ones() -> None:
    fused, separate = (run() for run in Problem(5).heads())
    hidden, weights, biases = separate[0], torch.cat(separate[1:6]), torch.cat(separate[6:])
    for ours, other in zip(fused, (hidden, weights, biases), strict=True):
        torch.testing.assert_close(ours, other)
        assert ours.abs().sum() > 0


def test_both_networks_take_the_same_steps() -> None:
    problem = Problem(5, dropout=0.0, decay=0.0)
    fused, separate = problem.fused(), problem.separate()
    for _ in range(3):
        theta, module = fused(), separate()
    own = problem.layout.split(theta.detach().numpy())
    assert abs(own["heads.bias"]).max() > 1e-3
    torch.testing.assert_close(torch.from_numpy(own["encoder.0.weight"]), module.encoder[0].weight.detach())
    for name, parts in (("heads", module.heads), ("linear", module.linear)):
        joined = torch.cat([part.weight.detach() for part in parts])
        torch.testing.assert_close(torch.from_numpy(own[f"{name}.weight"]), joined)


def test_an_unlabelled_cell_adds_nothing_to_separate_losses() -> None:
    problem = Problem(3)
    outputs = [torch.zeros(training_heads.BATCH, 1) for _ in range(3)]
    weights = problem.targets.binary_weight
    assert (weights == 0).any()
    moved = [out + 5.0 * (weights[:, [task]] == 0) for task, out in enumerate(outputs)]
    assert torch.equal(separate_loss(outputs, problem.targets), separate_loss(moved, problem.targets))


def test_heads_can_be_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TASKS": (2, 3), "STEPS": 1, "PAIRS": 1}.items():
        monkeypatch.setattr(training_heads, name, value)
    ratios = list(training_heads.run())
    assert len(ratios) == 4 and all(0 < ratio.ratio < math.inf for ratio in ratios)
    assert ratios[0].name == "1 x heads and loss alone, 2 tasks: fused / separate"
