"""Cells become numbers in the plan's units; what is dropped or set to missing is counted."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from client.config import load_site
from client.data.show import print_report
from client.data.table import SiteTable, load_for_prediction, load_table
from common.errors import DataError
from common.plan import Plan, plan_from_dict

CONTENT = {
    "federation": {"name": "x"},
    "data": {"patient": "pid"},
    "features": [
        {"name": "temp", "unit": "Cel", "range": [30, 43]},
        {"name": "glucose", "unit": "mg/dL", "analyte": "glucose", "range": [10, 1000]},
        {"name": "smoker", "kind": "binary"},
        {"name": "thal", "kind": "categorical", "categories": [3, 6, 7]},
        {"name": "ward", "kind": "categorical", "categories": ["icu", "1", "07"]},
    ],
    "tasks": [
        {"name": "dead", "label": "dead"},
        {"name": "severe", "label": "grade", "positive_when": ">= 2"},
        {"name": "grade", "kind": "multiclass", "label": "grade", "classes": [0, 1, 2]},
        {"name": "los", "kind": "regression", "label": "los", "unit": "d", "range": [0, 60]},
        {"name": "home", "label": "to", "positive_when": "== 'home'"},
    ],
}
COLUMNS = "pid,temp,glucose,smoker,thal,ward,dead,grade,los,to\n"
FULL = COLUMNS + "a,37,100,1,6,icu,1,2,3.5,home\nb,36.5,90,0,7.0,07,0,0,10,ward\n"
NAN = float("nan")


def _plan(**changes: object) -> Plan:
    return plan_from_dict({**CONTENT, **changes}, source="test")


def _load(tmp_path: Path, text: str, toml: str = "", plan: Plan | None = None) -> SiteTable:
    (tmp_path / "rows.csv").write_text(text)
    (tmp_path / "site.toml").write_text(f'[site]\nname = "s"\n[data]\nfiles = ["rows.csv"]\n{toml}')
    return load_table(load_site(tmp_path), plan or _plan())


def _equal(found: np.ndarray, expected: list[object]) -> bool:
    return np.array_equal(found, np.array(expected, dtype=np.float32), equal_nan=True)


def _feature(table: SiteTable, name: str):  # type: ignore[no-untyped-def]
    return next(feature for feature in table.report.features if feature.name == name)


def _task(table: SiteTable, name: str):  # type: ignore[no-untyped-def]
    return next(task for task in table.report.tasks if task.name == name)


def test_values_shapes_and_types(tmp_path: Path) -> None:
    table = _load(tmp_path, FULL)
    assert (table.features.dtype, table.labels.dtype, table.split.dtype) == (np.float32, np.float32, np.int8)
    assert _equal(table.features, [[37, 100, 1, 1, 0], [36.5, 90, 0, 2, 2]])
    assert _equal(table.labels, [[1, 1, 2, 3.5, 1], [0, 0, 0, 10, 0]])
    assert table.oracle.shape == (2, 1 + 1 + 3 + 1 + 1)
    assert np.isnan(table.oracle).all()
    assert table.row_ids.tolist() == table.patients.tolist() == ["a", "b"]
    assert table.site == "s"


def test_units_of_the_site_become_those_of_the_plan(tmp_path: Path) -> None:
    text = COLUMNS + "a,98.6,5.5507,1,6,icu,1,2,84,home\n"
    table = _load(tmp_path, text, '[units]\ntemp = "[degF]"\nglucose = "mmol/L"\nlos = "h"\n')
    assert table.features[0, :2] == pytest.approx([37.0, 100.0], rel=1e-4)
    assert table.labels[0, 3] == pytest.approx(3.5)
    assert (_feature(table, "temp").unit_from, _feature(table, "temp").unit) == ("[degF]", "Cel")
    assert _task(table, "los").unit_from == "h"
    assert _feature(table, "smoker").unit_from is None


def test_a_bound_that_was_converted_is_still_inside(tmp_path: Path) -> None:
    text = COLUMNS + "a,86,,,,,1,,,\nb,109.4,,,,,1,,,\nc,85.9,,,,,1,,,\nd,109.5,,,,,1,,,\n"
    table = _load(tmp_path, text, '[units]\ntemp = "[degF]"\n')
    assert _equal(table.features[:, 0], [30, 43, NAN, NAN])
    assert _feature(table, "temp").out_of_range == 2


def test_what_cannot_be_right_becomes_missing_and_is_counted(tmp_path: Path) -> None:
    text = COLUMNS + (
        "a,44,inf,2,5,ICU,2,3,61,home\nb,29.9,-inf,0.5,x,7,inf,-inf,-1,\nc,,NaN,,,,,,,NA\nd,30,1000,1,3,1,1,1,60,Home\n"
    )
    table = _load(tmp_path, text)
    assert _equal(table.features[:3], [[NAN] * 5] * 3)
    assert _equal(table.features[3], [30, 1000, 1, 0, 1])
    assert _equal(table.labels, [[NAN, 1, NAN, NAN, 1], [NAN] * 5, [NAN] * 5, [1, 0, 1, 60, 0]])
    counts = {f.name: (f.out_of_range, f.unknown_code, f.not_finite, f.missing) for f in table.report.features}
    assert counts == {
        "temp": (2, 0, 0, 0.75), "glucose": (0, 0, 2, 0.75), "smoker": (0, 2, 0, 0.75),
        "thal": (0, 2, 0, 0.75), "ward": (0, 2, 0, 0.75),
    }  # fmt: skip
    tasks = {t.name: (t.out_of_range, t.unknown_code, t.not_finite, t.labelled) for t in table.report.tasks}
    assert tasks == {
        "dead": (0, 1, 1, 1), "severe": (0, 0, 1, 2), "grade": (0, 2, 0, 1), "los": (2, 0, 0, 1), "home": (0, 0, 0, 2)
    }  # fmt: skip
    assert any(warning.startswith("temp: 2 of 3 values are outside") for warning in table.report.warnings)


def test_dropped_rows_are_counted_by_reason(tmp_path: Path) -> None:
    plan = _plan(data={"patient": "pid", "row": "stay", "keep_rows": "smoker != 1"})
    rows = ["a,1,0,1", "a,1,0,1", "a,1,0,0", "a,2,0,1", ",3,0,1", "b,,0,1", "c,1,0,1", "d,1,1,1", "e,1,,1"]
    names = ["temp", "glucose", "thal", "ward"]
    text = f"pid,stay,smoker,dead,{','.join(names)}\n" + "".join(f"{row},,,,\n" for row in rows)
    table = _load(tmp_path, text, plan=plan)
    assert list(zip(table.patients, table.row_ids, strict=True)) == [("a", "1"), ("a", "2"), ("c", "1")]
    assert table.labels[:, 0].tolist() == [1, 1, 1]
    assert table.report.dropped == {
        "not smoker != 1": 2, "no patient": 1, "no row identifier": 1, "exact duplicate": 1,
        "repeated patient and row": 1,
    }  # fmt: skip
    assert (table.report.rows_read, table.report.rows, table.report.patients) == (9, 3, 2)
    assert table.report.rows + sum(table.report.dropped.values()) == table.report.rows_read


def test_without_a_row_column_a_patient_has_one_row(tmp_path: Path) -> None:
    table = _load(tmp_path, FULL + "a,36,90,0,3,icu,0,0,1,home\n")
    assert table.patients.tolist() == ["a", "b"]
    assert table.report.dropped == {"repeated patient": 1}
    assert table.features[0, 0] == 37


def test_identifiers_stay_text_and_whole_numbers_stored_as_decimals_are_whole(tmp_path: Path) -> None:
    rows = ["007", "7", " 8 ", "9.0", "1e3", "٣", "é"]
    table = _load(tmp_path, COLUMNS + "".join(f"{pid},37,,,,,1,,,\n" for pid in rows))
    assert table.patients.tolist() == ["007", "7", "8", "9", "1e3", "٣", "é"]


def test_parquet_and_csv_give_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "pid": [7.0, 3352230.0, 12345678901.0, np.nan],
            "temp": pd.array([37, None, 36, 35], dtype="Int64"),
            "glucose": np.array([100.5, np.nan, np.inf, 90], dtype=np.float32),
            "smoker": [True, False, True, False],
            "thal": pd.Categorical([3, 6, 8, 7]),
            "ward": ["icu", "07", None, "1"],
            "dead": [1, 0, 1, 0],
            "grade": [0.0, 2.0, 1.0, np.nan],
            "los": [1.5, 2.5, 99.0, 1.0],
            "to": pd.Categorical(["home", None, "ward", "home"]),
        }
    )
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_csv(tmp_path / "rows.csv.gz", index=False)
    tables = [load_table(load_site(tmp_path / f"rows.{end}"), _plan()) for end in ("parquet", "csv", "csv.gz")]
    assert tables[0].patients.tolist() == ["7", "3352230", "12345678901"]
    assert np.isfinite(tables[0].features).any(axis=0).all()
    for other in tables[1:]:
        for name in ("patients", "row_ids", "split"):
            assert getattr(other, name).tolist() == getattr(tables[0], name).tolist()
        for name in ("features", "labels"):
            np.testing.assert_array_equal(getattr(other, name), getattr(tables[0], name))
        assert other.report.features == tables[0].report.features


def test_a_feature_that_the_site_does_not_record_is_missing_everywhere(tmp_path: Path) -> None:
    table = _load(tmp_path, FULL.replace("smoker", "other"), '[columns]\nsmoker = ""\n')
    assert np.isnan(table.features[:, 2]).all()
    assert not _feature(table, "smoker").recorded
    assert _feature(table, "temp").recorded


@pytest.mark.parametrize("toml", ["", '[columns]\nlos = ""\n'])
def test_a_label_that_is_absent_is_a_site_without_that_task(tmp_path: Path, toml: str) -> None:
    table = _load(tmp_path, FULL.replace("los", "other") if not toml else FULL, toml)
    assert np.isnan(table.labels[:, 3]).all()
    assert table.report.absent_labels == ("los",)
    assert table.labels[:, 0].tolist() == [1, 0]


def test_the_oracle_is_read_for_the_tasks_that_name_one(tmp_path: Path) -> None:
    tasks = [
        {"name": "a", "label": "dead", "oracle": ["p"]},
        {"name": "b", "label": "dead"},
        {"name": "g", "kind": "multiclass", "label": "grade", "classes": [0, 1, 2], "oracle": ["p0", "p1", "p2"]},
    ]
    text = (
        FULL.replace("to\n", "to,p,p0,p1,p2\n")
        .replace("home\n", "home,.25,.5,.25,.25\n")
        .replace("ward\n", "ward,,,,\n")
    )
    table = _load(tmp_path, text, plan=_plan(tasks=tasks))
    assert _equal(table.oracle, [[0.25, NAN, 0.5, 0.25, 0.25], [NAN] * 5])


def test_rows_of_several_files_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(FULL.replace("a,37", "c,38").replace("b,36.5", "a,39").replace("los", "other"))
    table = _load(tmp_path, FULL.replace("rows", "x"), 'labels = []\nencoding = "utf-8"\n')
    both = load_site(tmp_path)
    both = both.model_copy(update={"data": both.data.model_copy(update={"files": ("rows.csv", "more.csv")})})
    joined = load_table(both, _plan())
    assert joined.patients.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(joined.features[:2], table.features)
    assert _equal(joined.labels[:, 3], [3.5, 10, NAN])
    assert joined.report.absent_labels == ()


def test_prediction_keeps_every_row_in_order(tmp_path: Path) -> None:
    text = "temp,glucose,smoker,thal,ward\n37,100,1,6,icu\n,,,,\n44,100,1,6,icu\n37,100,1,6,icu\n"
    (tmp_path / "new.csv").write_text(text)
    table = load_for_prediction(load_site(tmp_path / "new.csv"), _plan())
    assert table.row_ids.tolist() == ["1", "2", "3", "4"]
    assert _equal(table.features[:, 0], [37, NAN, NAN, 37])
    assert table.split.tolist() == [-1] * 4
    assert table.labels.shape == (4, 5) and np.isnan(table.labels).all()
    (tmp_path / "ids.csv").write_text(FULL + FULL.split("\n", 1)[1])
    plan = _plan(split={"split_column": "set"}, data={"patient": "pid", "keep_rows": "has == 1"})
    assert load_for_prediction(load_site(tmp_path / "ids.csv"), plan).patients.tolist() == ["a", "b", "a", "b"]
    (tmp_path / "new.csv").write_text("pid,temp\na,37\n")
    with pytest.raises(DataError, match=r"new\.csv: column 'glucose', the plan's feature 'glucose', is missing"):
        load_for_prediction(load_site(tmp_path / "new.csv"), _plan())


def test_the_report_is_json_and_holds_no_cell(tmp_path: Path) -> None:
    table = _load(tmp_path, FULL.replace("a,37", "secret-1,37"))
    content = json.loads(json.dumps(table.report.to_json()))
    assert set(content) == {
        "site", "source", "files", "rows_read", "rows", "patients", "dropped", "rows_by_set", "features", "tasks",
        "absent_labels", "unmatched_labels", "objected_patients", "unknown_objections", "warnings", "hour_features",
        "hours_read", "hours_dropped",
    }  # fmt: skip
    assert "secret-1" not in json.dumps(content)
    assert sum(content["rows_by_set"].values()) == 2
    assert _task(table, "dead").mean == 0.5
    assert _task(table, "grade").shares == {"0.0": 0.5, "1.0": 0.0, "2.0": 0.5}
    assert _task(table, "los").mean == pytest.approx(6.75)


def test_the_printed_report_shows_counts_units_and_warnings(tmp_path: Path) -> None:
    text = COLUMNS + "a,98.6,,,,,1,,,\nb,200,,,,,0,,,\n"
    table = _load(tmp_path, text.replace("smoker", "other"), '[columns]\nsmoker = ""\n[units]\ntemp = "[degF]"\n')
    console = Console(record=True, width=160)
    print_report(table.report, console)
    shown = console.export_text()
    assert "2 rows of 2 patients" in shown
    assert "[degF] to Cel" in shown
    assert "not recorded" in shown
    assert "warning: temp: 1 of 2 values are outside the plausible range" in shown
