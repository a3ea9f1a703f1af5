"""The example plans on the public data sets, and `consilium data check`."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from client.config import find_sites, with_hours
from client.data.table import SiteTable, load_table
from common.errors import DataError, PlanError
from common.plan import Plan, load_plan
from experiments.public_data import check, data_app

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = {"heart": "fed_heart", "heart-flamby": "fed_heart", "eicu": "eicu_demo/by_site_group"}
SET = {"heart": "fed_heart", "heart-flamby": "fed_heart", "eicu": "eicu_demo"}


def _plan(name: str) -> Plan:
    path = EXAMPLES / f"{name}.toml"
    return load_plan(path.read_text(encoding="utf-8"), source=path.name)


@functools.cache
def _tables(public_data: Path, name: str) -> list[SiteTable]:
    return [load_table(config, _plan(name)) for config in find_sites(public_data / FOLDERS[name])]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sites", "rows", "patients"),
    [("heart", 4, 920, 920), ("heart-flamby", 4, 740, 740), ("eicu", 18, 2222, 1694)],
)
def test_every_site_loads_and_the_counts_are_the_documented_ones(
    public_data: Path, name: str, sites: int, rows: int, patients: int
) -> None:
    tables = _tables(public_data, name)
    assert len(tables) == sites
    assert sum(len(table.split) for table in tables) == rows
    found = np.concatenate([table.patients for table in tables])
    assert len(np.unique(found)) == patients
    sets = np.concatenate([table.split for table in tables])
    frame = pd.DataFrame({"patient": found, "set": sets})
    assert frame.groupby("patient")["set"].nunique().max() == 1


@pytest.mark.data
def test_labels_are_those_of_the_files(public_data: Path) -> None:
    """pandas is the judge: labelled rows and positives of every task, over all sites."""
    for name in FOLDERS:
        plan, tables = _plan(name), _tables(public_data, name)
        raw = pd.concat([pd.read_csv(table.report.files[0]) for table in tables])
        raw = raw[raw["flamby_split"].notna()] if name == "heart-flamby" else raw
        labels = np.concatenate([table.labels for table in tables])
        for index, task in enumerate(plan.tasks):
            column = raw[task.label].dropna()
            positive = (column >= 2) if task.name == "severity" else (column == 1)
            assert np.isfinite(labels[:, index]).sum() == len(column)
            assert np.nansum(labels[:, index]) == positive.sum()


@pytest.mark.data
def test_hardly_any_value_is_thrown_away(public_data: Path) -> None:
    """Only Swiss exercise_mets, which are watts, lie outside the plans' ranges."""
    lost = {
        (table.site, feature.name): feature.out_of_range + feature.unknown_code + feature.not_finite
        for name in FOLDERS
        for table in _tables(public_data, name)
        for feature in table.report.features
    }
    assert {key: count for key, count in lost.items() if count} == {("switzerland", "exercise_mets"): 73}


@pytest.mark.data
@pytest.mark.parametrize("name", FOLDERS)
def test_inputs_and_exclusions_are_those_of_the_data_set(public_data: Path, name: str) -> None:
    plan = _plan(name)
    described = json.loads((public_data / "tasks.json").read_text())[SET[name]]
    features = {feature for feature in described["features"] if not feature.endswith("_count_24h")}
    used = set(plan.feature_index)
    assert used <= features
    if name != "heart-flamby":
        assert used == features
    for task in plan.tasks:
        assert set(task.exclude) == {column for column in described["labels"][task.label] if column in features}


@pytest.mark.data
def test_the_flamby_split_is_the_column(public_data: Path) -> None:
    for table in _tables(public_data, "heart-flamby"):
        raw = pd.read_csv(table.report.files[0], dtype={"patient_id": "str"}).dropna(subset=["flamby_split"])
        expected = dict(zip(raw["patient_id"], raw["flamby_split"], strict=True))
        names = ["train", "validation", "test"]
        assert {patient: names[index] for patient, index in zip(table.patients, table.split, strict=True)} == expected


@pytest.mark.data
@pytest.mark.parametrize(("name", "folder"), [("heart", "fed_heart"), ("heart", "."), ("eicu", "eicu_demo")])
def test_data_check_passes_on_the_prepared_data(public_data: Path, name: str, folder: str) -> None:
    checks = check(name, public_data / folder)
    assert len(checks) > 10
    assert all(item.ok for item in checks)
    result = CliRunner().invoke(data_app, ["check", name, str(public_data / folder)])
    assert result.exit_code == 0
    assert "ok" in result.output


@pytest.mark.data
def test_data_check_finds_a_changed_cell_a_lost_row_column_and_file(public_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fed_heart"
    shutil.copytree(public_data / "fed_heart", folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    frame = pd.read_csv(folder / "hungary.csv", dtype="str")
    frame.loc[0, "label_heart_disease"] = "1"
    frame.iloc[:-1].to_csv(folder / "hungary.csv", index=False)
    differing = {item.what for item in check("heart", folder) if not item.ok}
    assert {"hungary.csv: rows", "patients", "label_heart_disease"} <= differing
    result = CliRunner().invoke(data_app, ["check", "heart", str(folder)])
    assert result.exit_code == 2
    assert "checks differ, the first is 'hungary.csv: rows'" in result.output.replace("\n", " ")
    frame.drop(columns="label_severity_0_4").to_csv(folder / "hungary.csv", index=False)
    with pytest.raises(DataError, match=r"hungary\.csv: column 'label_severity_0_4' is missing"):
        check("heart", folder)
    (folder / "hungary.csv").unlink()
    with pytest.raises(DataError, match=r"1 of 4 files are missing, the first is 'hungary\.csv'"):
        check("heart", folder)


def test_data_check_of_another_folder_or_name_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="data set 'lung' is not known; allowed: eicu, heart"):
        check("lung", tmp_path)
    result = CliRunner().invoke(data_app, ["check", "eicu", str(tmp_path)])
    assert result.exit_code == 2
    assert "18 of 18 files are missing" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", FOLDERS)
def test_the_example_plans_are_valid(name: str) -> None:
    assert _plan(name).federation.name == name.replace("-", "_")


@pytest.mark.data
def test_hours_and_their_labels_are_those_of_the_file(public_data: Path) -> None:
    """Of three groups of hospitals; pandas is the judge, and a loop over the stays for the labels."""
    plan, file = _plan("eicu-hourly"), public_data / "eicu_demo" / "hourly_vitals_0_48h.csv.gz"
    sites = with_hours(find_sites(public_data / FOLDERS["eicu"]), [file])
    raw = pd.read_csv(file, dtype={"patientunitstayid": str})
    for config in sites[:3]:
        table = load_table(config, plan)
        assert table.hours.shape == (len(table.row_ids), 24, 21) and not table.report.warnings
        own = raw[raw["patientunitstayid"].isin(table.row_ids)]
        assert table.report.hours_read == 79_944
        assert table.report.hours_dropped["no stay of this site"] == len(raw) - len(own)
        early = own[own["hour"] < 24]
        for index, feature in enumerate(plan.hour_features):
            low, high = feature.range
            within = early[feature.name].between(low, high)
            assert np.isfinite(table.hours[:, :, index]).sum() == within.sum()
            assert np.nansum(table.hours[:, :, index].astype(np.float64)) == pytest.approx(
                early.loc[within, feature.name].sum(), rel=1e-6
            )
        pressure = own.pivot(index="patientunitstayid", columns="hour", values="mean_bp")
        pressure = pressure.reindex(index=table.row_ids, columns=range(31)).to_numpy()
        for stay, values in enumerate(pressure):
            for hour in range(24):
                ahead = values[hour + 1 : hour + 7]
                ahead = ahead[(ahead >= 20) & (ahead <= 250)]
                unknown = len(ahead) == 0 or 20 <= values[hour] < 65
                expected = np.nan if unknown else float((ahead < 65).any())
                np.testing.assert_equal(float(table.hour_labels[stay, hour, 0]), expected)
