"""Patients who object: the site is as if they had never been in its tables, and only its own report says how many."""

import json
import unicodedata
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.config import load_site, virtual_site, write_site_toml
from client.data.table import SiteTable, load_table
from common.errors import DataError, PlanError
from common.plan import Plan, plan_from_dict
from common.survey import Survey

ROWS = ["01,a,40,1", "01,b,50,0", "2,c,60,1", "2,d,,0", "Zoë,e,70,1", "5,f,20,0", "6,g,999,0"]
LABELS = ["a,1", "b,2", "c,3", "d,4", "e,5", "f,6", "g,7"]


def _plan(row: bool = True) -> Plan:
    content: dict[str, Any] = {
        "federation": {"name": "x"},
        "data": {"patient": "pid"} | ({"row": "stay"} if row else {}),
        "features": [{"name": "age", "range": [0, 120]}],
        "tasks": [{"name": "t", "label": "y"}, {"name": "r", "kind": "regression", "label": "los", "range": [0, 9]}],
    }
    return plan_from_dict(content, source="test")


def _site(
    folder: Path, rows: list[str], *, labels: list[str] | None = None, key: str = "stay", objections: str = ""
) -> SiteTable:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_text("\n".join(["pid,stay,age,y", *rows]) + "\n", encoding="utf-8")
    named = ""
    if labels is not None:
        (folder / "labels.csv").write_text("\n".join([f"{key},los", *labels]) + "\n", encoding="utf-8")
        named = 'labels = ["labels.csv"]\n'
    text = f'[site]\nname = "s"\n[data]\nfiles = ["rows.csv"]\n{named}{objections}\n'
    (folder / "site.toml").write_text(text, encoding="utf-8")
    return load_table(load_site(folder), _plan(key == "stay"))


def _list(*names: str) -> str:
    return f"exclude_patients = {json.dumps(names)}"


def _assert_as_if_never_there(found: SiteTable, never: SiteTable) -> None:
    for name in ("patients", "row_ids", "features", "labels", "oracle", "split"):
        assert np.array_equal(
            getattr(found, name), getattr(never, name), equal_nan=name in ("features", "labels", "oracle")
        )
    survey = Survey(_plan())
    one, other = (survey.of(table.features, table.labels, survey.first_edges()) for table in (found, never))
    assert np.array_equal(one, other)
    counted = ("rows_read", "dropped", "objected_patients", "unknown_objections", "files", "source", "warnings")
    one_report, other_report = (
        {key: value for key, value in asdict(table.report).items() if key not in counted} for table in (found, never)
    )
    assert one_report == other_report
    assert {**found.report.dropped, "objected": 0} == {**never.report.dropped, "objected": 0}


@settings(deadline=None)
@given(st.sets(st.sampled_from(["01", "2", "Zoë", "5", "6"]), min_size=1, max_size=4))
def test_the_site_is_as_if_they_had_never_been_there(tmp_path_factory: pytest.TempPathFactory, who: set[str]) -> None:
    folder = tmp_path_factory.mktemp("site")
    left = [index for index, row in enumerate(ROWS) if row.split(",")[0] not in who]
    never = _site(folder / "never", [ROWS[i] for i in left], labels=[LABELS[i] for i in left])
    found = _site(folder / "found", ROWS, labels=LABELS, objections=_list(*sorted(who)))
    _assert_as_if_never_there(found, never)
    report = found.report
    assert (report.dropped["objected"], report.objected_patients) == (len(ROWS) - len(left), len(who))
    assert (report.unknown_objections, report.rows_read, report.unmatched_labels) == (0, len(ROWS), 0)


@pytest.mark.parametrize(
    "labels",
    [
        ["a,1", "a,2", "b,99", "c,3"],  # repeated, and out of range
        ["a,1", "b,1", "b,2", "c,3", "c,3"],
    ],
)
def test_labels_of_theirs_are_not_even_looked_at(labels: list[str], tmp_path: Path) -> None:
    never = _site(tmp_path / "never", ROWS[2:], labels=["c,3"])
    found = _site(tmp_path / "found", ROWS, labels=labels, objections=_list("01"))
    _assert_as_if_never_there(found, never)
    assert found.report.unmatched_labels == 0
    with pytest.raises(DataError, match="are repeated with other labels"):
        _site(tmp_path / "all", ROWS, labels=labels)


def test_labels_by_patient_are_left_out_as_well(tmp_path: Path) -> None:
    rows, decomposed = ["01,a,40,1", "Zoë,e,70,1", "5,f,20,0"], unicodedata.normalize("NFD", "Zoë")
    found = _site(
        tmp_path / "found", rows, labels=["01,1", f"{decomposed},2", "Zoë,3", "5,4", "8,5"], key="pid",
        objections=_list("Zoë", "8"),
    )  # fmt: skip
    assert found.patients.tolist() == ["01", "5"] and found.labels[:, 1].tolist() == [1, 4]
    assert found.report.unmatched_labels == 0 and found.report.unknown_objections == 1


def test_a_stay_of_theirs_that_is_also_another_patients_is_refused(tmp_path: Path) -> None:
    rows = ["01,a,40,1", "2,a,60,1", "5,f,20,0"]
    with pytest.raises(DataError, match="belong to several patients"):
        _site(tmp_path, rows, labels=["a,1"], objections=_list("01"))


@pytest.mark.parametrize(
    "written",
    [
        "2\nZoë\n",
        "\ufeff2\r\nZoë\r\n\r\n",
        "  2.0 \n\n\tZoë  \n2\n",
        unicodedata.normalize("NFD", "Zoë") + "\n2",
    ],
)
def test_a_file_is_read_as_identifiers_are(written: str, tmp_path: Path) -> None:
    (tmp_path / "objections.txt").write_bytes(written.encode())
    table = _site(tmp_path, ROWS, objections='exclude_patients = "objections.txt"')
    assert sorted(set(table.patients.tolist())) == ["01", "5", "6"]
    assert (table.report.objected_patients, table.report.unknown_objections) == (2, 0)


def test_patients_in_tables_are_compared_composed(tmp_path: Path) -> None:
    rows = [row.replace("Zoë", unicodedata.normalize("NFD", "Zoë")) for row in ROWS]
    table = _site(tmp_path, rows, objections=_list("Zoë"))
    assert table.report.objected_patients == 1 and "e" not in table.row_ids


def test_unknown_identifiers_are_counted_and_said_without_a_name(tmp_path: Path) -> None:
    table = _site(tmp_path, ROWS, objections=_list("1", "zoë", "2", "secret-7", "", "NA"))
    report = table.report
    assert (report.objected_patients, report.unknown_objections, report.dropped["objected"]) == (1, 3, 2)
    assert "3 identifier(s) of exclude_patients are in no table; check how they are written." in report.warnings
    assert "secret-7" not in json.dumps(report.to_json())


def test_an_empty_list_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "none.txt").write_text("\n")
    found = _site(tmp_path / "found", ROWS, objections='exclude_patients = "none.txt"')
    _assert_as_if_never_there(found, _site(tmp_path / "never", ROWS))
    assert "objected" not in found.report.dropped and not found.report.warnings


def test_a_site_where_all_object_has_no_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"site\.toml: no row is left of 7; all are of patients who object"):
        _site(tmp_path, ROWS, objections=_list("01", "2", "Zoë", "5", "6"))


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    named = 'exclude_patients = "objections.txt"'
    with pytest.raises(
        PlanError, match=r"exclude_patients names .*objections\.txt, which cannot be read: No such file"
    ):
        _site(tmp_path, ROWS, objections=named)
    (tmp_path / "objections.txt").write_bytes("Zoë".encode("latin-1"))
    with pytest.raises(PlanError, match=r"objections\.txt, which is not UTF-8 text") as refused:
        _site(tmp_path, ROWS, objections=named)
    assert "Zo" not in str(refused.value)
    (tmp_path / "objections.txt").unlink()
    (tmp_path / "objections.txt").mkdir()
    with pytest.raises(PlanError, match="cannot be read: Is a directory"):
        _site(tmp_path, ROWS, objections=named)


@pytest.mark.parametrize("value", ["4711", '["a", 4711]', "true", '""', '{ secret = "4711" }', "[4711]"])
def test_what_is_no_list_is_refused_and_not_shown(value: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"data\.exclude_patients: expected the name of a file, or a list") as refused:
        _site(tmp_path, ROWS, objections=f"exclude_patients = {value}")
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize("objections", ['exclude_patients = "objections.txt"', _list("2")])
def test_virtual_sites_keep_to_them(objections: str, tmp_path: Path) -> None:
    (tmp_path / "objections.txt").write_text("2\n")
    own = _site(tmp_path, ROWS, objections=objections)
    config = load_site(tmp_path)
    written = write_site_toml(virtual_site(config, plan=None), tmp_path / "out" / "s" / "site.toml")
    copied = load_table(written, _plan())
    _assert_as_if_never_there(copied, replace(own, report=replace(own.report, source=str(written.source))))
    assert copied.report.objected_patients == 1
