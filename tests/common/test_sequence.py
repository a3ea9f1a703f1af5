"""Encoders of a sequence: no hour sees a later one, and each is what torch.nn computes with the same weights."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.model import Layout, Network, Normaliser, encode_stays, initial_parameters
from common.model.hours import encode_hours
from common.model.sequence import SEQUENCE_INPUT, sequence_shapes, states
from common.model.sequence.summaries import summaries
from common.plan import ModelRules, Plan
from tests.hourly import HOURS, hourly_plan

ENCODERS = ("tcn", "lstm", "gru", "attention", "mlp")
COLUMNS, WIDTH, ROWS = 9, 8, 5


def _normaliser(plan: Plan) -> Normaliser:
    vector = np.ones(Normaliser.size(plan), dtype=np.float32)
    vector[: len(plan.inputs)] = [60, 0.5, 80, 37, 2]
    vector[len(plan.inputs) : 2 * len(plan.inputs)] = [20, 0.5, 15, 1, 1.5]
    return Normaliser.from_vector(vector, plan)


def _stays(plan: Plan, count: int, seed: int) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    rows = random.normal([60, 0.5], [20, 0.5], (count, 2))
    hours = random.normal([80, 37, 2], [15, 1, 1.5], (count, plan.hours, 3))
    hours[random.random(hours.shape) < 0.4] = np.nan
    return torch.from_numpy(rows).float(), torch.from_numpy(hours).float()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_prediction_sees_a_later_hour(encoder: str) -> None:
    """Bit for bit: whatever happens after t, the predictions at t and before are the same."""
    plan = hourly_plan(encoder=encoder)
    layout, normaliser = Layout(plan), _normaliser(plan)
    network = Network(layout, torch.device("cpu"))
    theta = torch.from_numpy(initial_parameters(layout, seed=1))
    rows, hours = _stays(plan, 40, seed=2)
    _, others = _stays(plan, 40, seed=3)

    def predictions(seen: Tensor) -> Tensor:
        logits = network.logits(theta, encode_stays(rows, seen, normaliser, plan))
        return logits[:, layout.outputs :].view(-1, len(plan.hourly), HOURS)

    before = predictions(hours)
    for hour in range(HOURS - 1):
        changed = hours.clone()
        changed[:, hour + 1 :] = others[:, hour + 1 :]
        after = predictions(changed)
        assert torch.equal(after[:, :, : hour + 1], before[:, :, : hour + 1])
        assert not torch.equal(after[:, :, hour + 1], before[:, :, hour + 1])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_hour_remembers_every_earlier_one(encoder: str) -> None:
    """The first hour reaches the last state, over a whole day in the default size."""
    rules = ModelRules(encoder=encoder)
    tensors = _tensors(rules, seed=0)
    hours = torch.randn(3, 24, COLUMNS, generator=torch.Generator().manual_seed(1), requires_grad=True)
    last = states(tensors, hours, rules)[:, -1]
    (gradient,) = torch.autograd.grad((last * torch.linspace(-1, 2, last.shape[1])).sum(), hours)
    assert (gradient.abs().sum(dim=(0, 2)) > 1e-5).all()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_default_size_is_about_fifteen_thousand(encoder: str) -> None:
    """With 21 hourly features, as of vital signs and laboratory values."""
    size = sum(int(np.prod(shape)) for _, shape in sequence_shapes(ModelRules(encoder=encoder), 63))
    assert 12_000 < size < 18_000


def _tensors(rules: ModelRules, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = sequence_shapes(rules, COLUMNS)
    return {name: 0.4 * torch.randn(shape, generator=generator) for name, shape in shapes}


def _inside(tensors: dict[str, Tensor], hours: Tensor) -> Tensor:
    first = nn.Linear(COLUMNS, WIDTH)
    first.load_state_dict({"weight": tensors[SEQUENCE_INPUT], "bias": tensors["sequence.input.bias"]})
    return first(hours).relu()


@pytest.mark.parametrize(("encoder", "kind"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_encoders_are_those_of_torch(encoder: str, kind: type[nn.RNNBase], layers: int) -> None:
    rules = ModelRules(encoder=encoder, sequence_width=WIDTH, sequence_layers=layers)
    tensors, hours = _tensors(rules, seed=3), torch.randn(ROWS, HOURS, COLUMNS)
    module = kind(WIDTH, WIDTH, num_layers=layers, batch_first=True)
    names = {"weight_ih": "input.weight", "weight_hh": "state.weight", "bias_ih": "input.bias", "bias_hh": "state.bias"}
    module.load_state_dict(
        {f"{own}_l{n}": tensors[f"sequence.{n}.{ours}"] for n in range(layers) for own, ours in names.items()}
    )
    assert torch.allclose(states(tensors, hours, rules), module(_inside(tensors, hours))[0], atol=1e-6)


def test_convolutions_are_those_of_torch() -> None:
    rules = ModelRules(encoder="tcn", sequence_width=WIDTH, sequence_layers=3)
    tensors, hours = _tensors(rules, seed=4), torch.randn(ROWS, HOURS, COLUMNS)
    hidden = _inside(tensors, hours).transpose(1, 2)
    for layer in range(3):
        module = nn.Conv1d(WIDTH, WIDTH, 3, dilation=2**layer, padding=2 * 2**layer)
        module.load_state_dict({kind: tensors[f"sequence.{layer}.{kind}"] for kind in ("weight", "bias")})
        hidden = hidden + module(hidden)[:, :, :HOURS].relu()
    expected = nn.LayerNorm(WIDTH, elementwise_affine=False)(hidden.transpose(1, 2))
    assert torch.allclose(states(tensors, hours, rules), expected, atol=1e-5)


def test_attention_is_that_of_torch() -> None:
    rules = ModelRules(encoder="attention", sequence_width=WIDTH, sequence_layers=2)
    tensors, hours = _tensors(rules, seed=5), torch.randn(ROWS, HOURS, COLUMNS)
    norm, place = nn.LayerNorm(WIDTH, elementwise_affine=False), np.arange(HOURS)[:, None]
    angle = place / 10_000.0 ** (np.arange(WIDTH) // 2 * 2 / WIDTH)
    hidden = _inside(tensors, hours)
    hidden = hidden + torch.from_numpy(np.where(np.arange(WIDTH) % 2, np.cos(angle), np.sin(angle))).float()
    later = torch.ones(HOURS, HOURS, dtype=torch.bool).triu(1)
    for layer in range(2):
        own = {name.split(".", 2)[2]: part for name, part in tensors.items() if name.startswith(f"sequence.{layer}.")}
        module = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        parts = {"in_proj_weight": "attend.weight", "in_proj_bias": "attend.bias"}
        parts |= {"out_proj.weight": "join.weight", "out_proj.bias": "join.bias"}
        module.load_state_dict({name: own[ours] for name, ours in parts.items()})
        normed = norm(hidden)
        hidden = hidden + module(normed, normed, normed, attn_mask=later, need_weights=False)[0]
        wide = nn.functional.linear(norm(hidden), own["wide.weight"], own["wide.bias"]).relu()
        hidden = hidden + nn.functional.linear(wide, own["narrow.weight"], own["narrow.bias"])
    assert torch.allclose(states(tensors, hours, rules), norm(hidden), atol=1e-5)


def test_code_of_an_hour_against_a_slow_loop() -> None:
    plan = hourly_plan()
    normaliser = _normaliser(plan)
    _, hours = _stays(plan, 7, seed=6)
    code = encode_hours(hours, normaliser, plan).numpy()
    mean, std = normaliser.mean[2:], normaliser.std[2:]
    for stay in range(7):
        for feature in range(3):
            last = None
            for hour in range(HOURS):
                value = float(hours[stay, hour, feature])
                last = last if np.isnan(value) else hour
                z = 0.0 if np.isnan(value) else np.clip((value - mean[feature]) / std[feature], -3, 3)
                since = 1.0 if last is None else (hour - last) / HOURS
                found = code[stay, hour, feature::3]
                assert found == pytest.approx([z, float(np.isnan(value)), since], abs=1e-6)


def test_a_task_does_not_see_what_it_excludes_at_any_hour() -> None:
    """`death` excludes lactate and `worse` the pressure: their outputs do not move, those of other tasks do."""
    plan = hourly_plan()
    layout, normaliser = Layout(plan), _normaliser(plan)
    network = Network(layout, torch.device("cpu"))
    theta = torch.from_numpy(initial_parameters(layout, seed=1))
    rows, hours = _stays(plan, 20, seed=2)

    def outputs(seen: Tensor) -> dict[str, Tensor]:
        logits = network.logits(theta, encode_stays(rows, seen, normaliser, plan))
        each = logits[:, layout.outputs :].view(-1, 2, HOURS)
        return {"death": logits[:, 0], "stay": logits[:, 1], "shock": each[:, 0], "worse": each[:, 1]}

    before = outputs(hours)
    for feature, blind in ((0, {"worse"}), (1, set()), (2, {"death"})):
        changed = hours.clone()
        changed[:, :, feature] = hours[:, :, feature].flip(0)
        after = outputs(changed)
        assert {name for name in before if torch.equal(before[name], after[name])} == blind


def test_an_mlp_gets_what_numpy_says_of_the_hours_so_far() -> None:
    plan = hourly_plan()
    normaliser = _normaliser(plan)
    _, hours = _stays(plan, 6, seed=7)
    hours[0, :, 1] = torch.nan  # a feature that is never observed
    z = ((hours.numpy() - normaliser.mean[2:]) / normaliser.std[2:]).clip(-3, 3)
    found = summaries(encode_hours(hours, normaliser, plan)).numpy()
    for stay, hour, feature in np.ndindex(6, HOURS, 3):
        seen = z[stay, : hour + 1, feature]
        there = np.flatnonzero(~np.isnan(seen))
        since = (hour - there[-1]) / HOURS if len(there) else 1.0
        seen = seen[there]
        expected = [seen.mean(), seen.min(), seen.max(), seen[-1]] if len(seen) else [0.0] * 4
        assert found[stay, hour, feature::3] == pytest.approx([*expected, len(seen) / HOURS, since], abs=1e-6)


def test_each_summary_belongs_to_the_block_of_its_feature() -> None:
    layout = Layout(hourly_plan(encoder="mlp"))
    (segment,) = [segment for segment in layout.segments if segment.name == SEQUENCE_INPUT]
    blocks = layout.block_of[segment.start : segment.stop].reshape(segment.shape)
    names = [layout.block_names[block] for block in blocks[0]]
    assert names == ["input:map", "input:temp", "input:lactate"] * 6 and (blocks == blocks[0]).all()
