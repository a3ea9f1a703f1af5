"""Parquet has types of its own: what is neither number nor text is refused, and identifiers keep every digit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.config import SiteConfig, load_site
from client.data.table import SiteTable, load_for_prediction, load_table
from common.errors import DataError
from common.plan import Plan
from tests.client.contract import contract_plan, table


@pytest.fixture
def plan() -> Plan:
    return contract_plan()


@pytest.mark.parametrize("wrong", ["x", pd.Timestamp("2020-01-01"), [1.0]], ids=["text", "date", "list"])
def test_another_type_in_parquet(plan: Plan, tmp_path: Path, wrong: object) -> None:
    frame = pd.DataFrame({"pid": ["a"], "ok": [1], "heart_rate": [wrong], "sex": [0], "c": [0], "y": [1]})
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"column 'heart_rate'.* holds 1 value\(s\) that are not numbers"):
        table(tmp_path / "rows.parquet", plan)


@pytest.mark.parametrize("column", ["pid", "heart_rate", "c"])
@pytest.mark.parametrize("wrong", [b"\xff\xfe", {"a": b"\xff"}], ids=["binary", "struct"])
def test_binary_in_parquet(plan: Plan, tmp_path: Path, column: str, wrong: object) -> None:
    frame = pd.DataFrame({"pid": ["a"], "ok": [1], "heart_rate": [80], "sex": [0], "c": ["x"], "y": [1]})
    frame[column] = pd.Series([wrong], dtype="object")
    frame.to_parquet(tmp_path / "rows.parquet")
    sentence = rf"rows\.parquet: column '{column}'.* holds .*(neither numbers nor text|that are not numbers)"
    with pytest.raises(DataError, match=sentence) as caught:
        table(tmp_path / "rows.parquet", plan)
    assert "\n" not in str(caught.value)


INEXACT = [
    np.array([np.inf, 1.0]),
    np.array([1.0, -np.inf]),
    np.array([1e300, 2e300]),
    np.array([2.0**53 + 2, 1.5]),
    np.array([2**24 + 2, 1.0], dtype=np.float32),
]


@pytest.mark.parametrize("values", INEXACT, ids=lambda values: f"{values[0]:g}-{values.dtype}")
@pytest.mark.parametrize("name", ["pid", "stay"])
@pytest.mark.parametrize("load", [load_table, load_for_prediction])
def test_identifiers_that_floats_cannot_hold(
    plan: Plan, tmp_path: Path, load: Callable[[SiteConfig, Plan], SiteTable], name: str, values: np.ndarray
) -> None:
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"row": "stay"})})
    ids = {"pid": np.array([1.0, 2.0]), "stay": np.array([1.0, 2.0])} | {name: values}
    frame = pd.DataFrame({**ids, "ok": 1, "heart_rate": 80, "sex": 0, "c": "x", "y": 1})
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=rf"rows\.parquet: column '{name}' holds identifiers that are infinite or too"):
        load(load_site(tmp_path / "rows.parquet"), plan)


def test_identifiers_and_codes_that_floats_can_hold(plan: Plan, tmp_path: Path) -> None:
    pids = pa.array([2.0**53, 12345678901.0, 0.5, np.nan, None, -0.0], from_pandas=False)
    codes = pa.array([np.inf, 1e300, 1.0, np.nan, 0.0, 0.0], from_pandas=False)
    ones = pa.array([1] * 6)
    columns = pa.table({"pid": pids, "ok": ones, "heart_rate": ones, "sex": ones, "c": codes, "y": ones})
    pq.write_table(columns, tmp_path / "rows.parquet")
    loaded = table(tmp_path / "rows.parquet", plan)
    assert loaded.patients.tolist() == ["9007199254740992", "12345678901", "0.5", "0"]
    assert loaded.report.dropped == {"no patient": 2}
    np.testing.assert_array_equal(loaded.features[:, 2], [np.nan, np.nan, 1, 0])
    assert loaded.report.features[2].unknown_code == 2
    predicted = load_for_prediction(load_site(tmp_path / "rows.parquet"), plan)
    assert predicted.patients.tolist() == ["9007199254740992", "12345678901", "0.5", "", "", "0"]
