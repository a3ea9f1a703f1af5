"""Separate tables of labels: joined on the row column, or on the patient; never ambiguously."""

from pathlib import Path

import numpy as np
import pytest

from client.config import load_site
from client.data.table import SiteTable, load_table
from common.errors import DataError
from common.plan import plan_from_dict

ROWS = "pid,stay,age\n01,a,40\n01,b,50\n02,c,60\n"


def _load(tmp_path: Path, rows: str, *labels: str, row: str | None = "stay", columns: str = "") -> SiteTable:
    (tmp_path / "rows.csv").write_text(rows)
    names = [f"labels{index}.csv" for index in range(len(labels))]
    for name, text in zip(names, labels, strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "site.toml").write_text(
        f'[site]\nname = "s"\n[data]\nfiles = ["rows.csv"]\nlabels = {names}\n[columns]\n{columns}'
    )
    data = {"patient": "pid"} | ({"row": row} if row else {})
    content = {
        "federation": {"name": "x"},
        "data": data,
        "features": [{"name": "age", "range": [0, 120]}],
        "tasks": [{"name": "t", "label": "y"}, {"name": "r", "kind": "regression", "label": "los", "range": [0, 9]}],
    }
    return load_table(load_site(tmp_path), plan_from_dict(content, source="test"))


def _labels(table: SiteTable) -> list[list[float]]:
    return np.nan_to_num(table.labels, nan=-1.0).tolist()


def test_labels_are_joined_on_the_row_in_any_order(tmp_path: Path) -> None:
    table = _load(tmp_path, ROWS, "stay,y,los\nc,1,3\na,0,\nnobody,1,1\n")
    assert table.row_ids.tolist() == ["a", "b", "c"]
    assert _labels(table) == [[0, -1], [-1, -1], [1, 3]]
    assert table.report.unmatched_labels == 1
    assert any("belong to no row" in warning for warning in table.report.warnings)


def test_labels_are_joined_on_the_patient_where_the_plan_has_no_row_column(tmp_path: Path) -> None:
    table = _load(tmp_path, "pid,age\n01,40\n2,50\n", "pid,y\n2,1\n1,1\n01,0\n", row=None)
    assert (table.patients.tolist(), _labels(table)) == (["01", "2"], [[0, -1], [1, -1]])
    assert table.report.absent_labels == ("los",)


def test_two_tables_of_labels_and_other_names(tmp_path: Path) -> None:
    table = _load(
        tmp_path, ROWS.replace("stay", "S"), "S,Y\na,1\n", "S,los\nb,2\nb,2\n", columns='stay = "S"\ny = "Y"\n'
    )
    assert _labels(table) == [[1, -1], [-1, 2], [-1, -1]]


@pytest.mark.parametrize(
    ("rows", "labels", "sentence"),
    [
        (ROWS, ["stay,y\na,1\na,0\n"], r"labels0\.csv: 1 value\(s\) of 'stay' are repeated with other labels"),
        (ROWS, ["stay,y\na,1\n", "stay,y\nb,1\n"], r"labels1\.csv: label 'y' is in another table of this site"),
        (ROWS.replace("age", "y,age").replace(",40", ",1,40").replace(",50", ",1,50").replace(",60", ",1,60"),
         ["stay,y\na,1\n"], r"labels0\.csv: label 'y' is in another table"),
        (ROWS, ["stay,z\na,1\n"], r"labels0\.csv: holds no label of the plan; expected one of 'los', 'y'"),
        (ROWS, ["pid,y\n01,1\n"], r"labels0\.csv: column 'stay', the plan's row 'stay', is missing"),
        (ROWS.replace("02,c", "02,a"), ["stay,y\na,1\n"], r"1 value\(s\) of 'stay' belong to several patients"),
        (ROWS, ["stay,y\na,maybe\n"], r"labels0\.csv: column 'y'.* holds 1 value\(s\) that are not numbers"),
    ],
)  # fmt: skip
def test_what_would_be_ambiguous_is_refused(tmp_path: Path, rows: str, labels: list[str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        _load(tmp_path, rows, *labels)
