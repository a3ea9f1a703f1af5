"""The flat layout, the input code and model files."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ModelFileError, PlanError
from common.model import LEVELS, Layout, Normaliser, encode, initial_parameters, weight_level
from common.model_file import ModelFile
from common.plan import Plan, plan_from_dict
from tests.conftest import small_content
from tests.laws.asserts import assert_roundtrip


def _normaliser(plan: Plan) -> Normaliser:
    features, tasks = len(plan.features), len(plan.tasks)
    edges = np.tile(np.array([0, 50, 100, 150, 200], dtype=np.float32), (features, 1))
    return Normaliser(
        mean=np.array([60, 130, 0.5, 0], dtype=np.float32),
        std=np.array([10, 20, 0.5, 1], dtype=np.float32),
        edges=edges,
        available=np.ones(features, dtype=np.float32),
        label_mean=np.zeros(tasks, dtype=np.float32),
        label_std=np.ones(tasks, dtype=np.float32),
        task_available=np.ones(tasks, dtype=np.float32),
        rows=100.0,
    )


def test_every_parameter_belongs_to_one_block(plan: Plan) -> None:
    layout = Layout(plan)
    assert layout.block_of.shape == (layout.parameters,)
    trained = [index for index, name in enumerate(layout.block_names) if not name.startswith("mean:")]
    assert set(layout.block_of) == set(trained)
    for index, task in enumerate(plan.tasks):
        of_task = layout.block_of == layout.block_names.index(f"task:{task.name}")
        outputs = set(layout.output_of[of_task])
        assert outputs == set(np.flatnonzero(layout.task_of_output == index))
    assert sum(s.stop - s.start for s in layout.segments) == layout.parameters


def test_input_code_of_one_row(plan: Plan) -> None:
    row = torch.tensor([[70.0, 130.0, 1.0, 2.0], [torch.nan, 999.0, torch.nan, torch.nan]])
    columns = Layout(plan).columns
    code = encode(row, _normaliser(plan), plan).numpy()
    of = [np.flatnonzero(columns.feature_of == i) for i in range(4)]
    assert code[0, of[0]].tolist() == pytest.approx([1.0, 1.0, 0.4, 0.0, 0.0, 0.0])  # z, four bins, mask
    assert code[0, of[1]].tolist() == pytest.approx([0.0, 1.0, 1.0, 0.6, 0.0, 0.0])
    assert code[0, of[2]].tolist() == [1.0, 0.0]
    assert code[0, of[3]].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert code[1, of[0]].tolist() == [0, 0, 0, 0, 0, 1]  # missing: nothing but the mask
    assert code[1, of[1]][0] == 3.0  # clipped
    assert code[1, of[3]].tolist() == [0, 0, 0, 1]


def test_left_out_feature_looks_missing(plan: Plan) -> None:
    normaliser = _normaliser(plan)
    normaliser.available[1] = 0.0
    row = torch.tensor([[70.0, 130.0, 1.0, 2.0]])
    hidden = torch.tensor([[70.0, torch.nan, 1.0, 2.0]])
    assert torch.equal(encode(row, normaliser, plan), encode(hidden, normaliser, plan))


@given(st.integers(0, 10**7), st.integers(1, 10**5))
def test_weight_level_is_near_and_never_a_count(rows: int, cap: int) -> None:
    level = weight_level(rows, row_cap=cap)
    assert level in LEVELS and (level == 0) == (rows == 0)
    exact = min(1.0, (rows / cap) ** 0.5)
    if exact > 0.1:
        assert 2**-0.51 <= level / exact <= 2**0.51


def test_starting_point_follows_from_the_seed(plan: Plan) -> None:
    layout = Layout(plan)
    first, again, other = (initial_parameters(layout, seed=seed) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def _model() -> ModelFile:
    plan = plan_from_dict(small_content(), source="x")
    return ModelFile(plan, initial_parameters(Layout(plan), seed=0), _normaliser(plan), ("stay",))


def test_model_file_roundtrip() -> None:
    assert_roundtrip(_model(), ModelFile.to_bytes, lambda data: ModelFile.from_bytes(data, source="m"))
    again = ModelFile.from_bytes(_model().to_bytes(), source="m")
    assert again.left_out == ("stay",) and again.plan == _model().plan


@given(st.data())
def test_damaged_model_file_is_refused_or_read_as_it_is(data: st.DataObject) -> None:
    whole = bytearray(_model().to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        ModelFile.from_bytes(damaged, source="m")
    except (ModelFileError, PlanError) as error:
        assert str(error).startswith("m: ")
