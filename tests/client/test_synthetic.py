"""Synthetic hospitals on disk: files repeat byte for byte, and hospitals really differ."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.config import find_sites, load_site
from client.data.synthetic import DEFAULT_HOSPITALS, generate, generate_hourly, hospitals, true_risks, write_hospitals
from client.data.synthetic.recording import OBSERVABLES, VITALS
from client.data.table import load_table
from common.errors import DataError
from common.plan import load_plan

SHARED = (
    "hypertension",
    "diabetes",
    "deterioration_24h",
    "antihypertensive_response",
    "length_of_stay_days",
    "triage_level",
)
SMALL = hospitals(3, patients=(1200, 800, 600))
PLAN = load_plan((files("experiments") / "demo.toml").read_text(), source="demo.toml")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("hospitals")
    write_hospitals(root, SMALL, 5, hourly=True)
    return root


def _own(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / name / "patients.csv", index_col="patient_id")


def test_same_seed_same_bytes_and_hourly_values_change_nothing_else(written, tmp_path):
    write_hospitals(tmp_path / "again", SMALL, 5, hourly=True)
    write_hospitals(tmp_path / "short", SMALL, 5)
    write_hospitals(tmp_path / "other", SMALL, 6)
    for hospital in SMALL:
        for file in ("patients.csv", "site.toml", "hourly.csv.gz"):
            first = (written / hospital.name / file).read_bytes()
            assert (tmp_path / "again" / hospital.name / file).read_bytes() == first
        patients = (written / hospital.name / "patients.csv").read_bytes()
        assert (tmp_path / "short" / hospital.name / "patients.csv").read_bytes() == patients
        assert not (tmp_path / "short" / hospital.name / "hourly.csv.gz").exists()
        assert (tmp_path / "other" / hospital.name / "patients.csv").read_bytes() != patients


def test_hospitals_write_in_their_own_units_and_names(written):
    north, harbour, valley = (_own(written, hospital.name) for hospital in SMALL)
    assert 110 < north["sbp"].median() < 145
    assert 15 < valley["systolic_bp"].median() < 20
    assert 36 < north["temperature_c"].median() < 38
    assert 97 < harbour["temp_f"].median() < 100
    assert 90 < north["glucose"].median() < 130
    assert 5 < valley["glucose_mmol"].median() < 8
    assert harbour["weight_lb"].median() > 1.9 * north["weight_kg"].median()
    assert "wbc" not in harbour


@pytest.mark.parametrize("hospital", [*DEFAULT_HOSPITALS, *hospitals(6, 1)[3:]], ids=lambda hospital: hospital.name)
def test_site_loads_as_the_record_behind_the_true_risk(hospital, tmp_path):
    write_hospitals(tmp_path, [hospital], 5)
    cohort = generate(hospital, 5)
    pd.testing.assert_frame_equal(true_risks(cohort.complete), cohort.truth)
    loaded = load_table(load_site(tmp_path / hospital.name), PLAN)
    assert loaded.patients.tolist() == cohort.table.index.tolist()
    assert len(_own(tmp_path, hospital.name)) > len(cohort.table)
    for position, feature in enumerate(PLAN.features):
        expected = cohort.table[feature.name]
        if feature.categories is not None:
            expected = expected.map({code: index for index, code in enumerate(feature.categories)})
        found, expected = loaded.features[:, position], expected.to_numpy(dtype=float)
        mistyped = np.isnan(found) & ~np.isnan(expected)
        assert mistyped.mean() < 0.01
        assert mistyped.any() == (feature.name in ("heart_rate", "systolic_bp", "temperature_c", "weight_kg"))
        np.testing.assert_allclose(found[~mistyped], expected[~mistyped], rtol=1e-6)
    oracles = iter(loaded.oracle.T)
    for position, task in enumerate(PLAN.tasks):
        expected = cohort.labels.get(task.name, pd.Series(np.nan, cohort.table.index)).to_numpy(dtype=float)
        found = loaded.labels[:, position] + (1.0 if task.kind == "multiclass" else 0.0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        for column in task.oracle:
            truth = cohort.truth[column].to_numpy() if task.name in cohort.labels else np.nan
            np.testing.assert_allclose(next(oracles), np.broadcast_to(truth, len(expected)), rtol=1e-6, atol=1e-6)


def test_labels_per_hospital(written):
    labelled = {hospital.name: set(hospital.tasks) for hospital in DEFAULT_HOSPITALS}
    for task in SHARED:
        assert sum(task in tasks for tasks in labelled.values()) in (2, 3)
    assert [name for name, tasks in labelled.items() if "readmission_30d" in tasks] == ["harbour"]
    assert len({frozenset(tasks) for tasks in labelled.values()}) == 3
    for hospital in SMALL:
        own, cohort = _own(written, hospital.name), generate(hospital, 5)
        present = {task.name for task in PLAN.tasks if hospital.columns.get(task.label, task.label) in own}
        assert present == labelled[hospital.name] == set(cohort.labels)
        known = cohort.labels.notna()
        if "antihypertensive_response" in cohort.labels:
            assert (known["antihypertensive_response"] == (cohort.complete["on_antihypertensive"] == 1.0)).all()
        if "triage_level" in cohort.labels:
            assert (known["triage_level"] == (cohort.complete["admission_type"] != "elective")).all()


def test_sicker_patients_are_measured_more_and_habits_differ():
    cohorts = {hospital.name: generate(hospital, 2) for hospital in DEFAULT_HOSPITALS}
    for cohort in cohorts.values():
        severity = cohort.latents["severity"]
        measured = cohort.table["lactate"].notna()
        assert measured[severity > 1.0].mean() > 1.5 * measured[severity < 0.0].mean()
    shares = {name: cohort.table.notna().mean() for name, cohort in cohorts.items()}
    assert shares["valley"]["respiratory_rate"] < 0.5 < 0.8 < shares["north"]["respiratory_rate"]
    assert shares["harbour"]["wbc"] == 0.0


def test_case_mix_differs():
    north, harbour, valley = (generate(hospital, 3).complete for hospital in DEFAULT_HOSPITALS)
    assert harbour["age"].mean() + 5 < north["age"].mean() < valley["age"].mean() - 5
    assert harbour["weight_kg"].mean() > north["weight_kg"].mean()
    assert north["lactate"].mean() > harbour["lactate"].mean()


def test_plan_and_sites_fit_together(written):
    assert [feature.name for feature in PLAN.features] == list(OBSERVABLES)
    for feature in PLAN.features:
        observable = OBSERVABLES[feature.name]
        assert (feature.kind, feature.unit, feature.analyte) == (observable.kind, observable.unit, observable.analyte)
        if feature.range is not None:
            assert feature.range[0] <= observable.limits[0] < observable.limits[1] <= feature.range[1]
    truth = generate(replace(DEFAULT_HOSPITALS[0], patients=2), 0).truth
    assert [column for task in PLAN.tasks for column in task.oracle] == [
        column for task in PLAN.tasks for column in truth if column.startswith(f"true_risk_{task.name}")
    ]
    assert [site.name for site in find_sites(written)] == ["harbour", "north", "valley"]


@pytest.mark.parametrize("hospital", DEFAULT_HOSPITALS, ids=lambda hospital: hospital.name)
def test_first_day_of_the_hourly_values_has_the_tables_means(hospital):
    cohort = generate(replace(hospital, patients=600), 4)
    hourly = generate_hourly(cohort)
    assert set(hourly["hour"]) == set(range(48))
    assert not hourly.duplicated(["patient_id", "hour"]).any()
    means = hourly[hourly["hour"] < 24].groupby("patient_id").mean().reindex(cohort.table.index)
    for name in VITALS:
        observable = OBSERVABLES[name]
        unit = hospital.units.get(name, observable.unit)
        np.testing.assert_array_equal(
            observable.to_own(means[name].to_numpy(), unit), observable.to_own(cohort.table[name].to_numpy(), unit)
        )
        assert hourly[name].dropna().between(observable.limits[0] - 0.01, observable.limits[1] + 0.01).all()
    assert hourly.groupby("patient_id")["heart_rate"].nunique().median() > 3
    ill = hourly.groupby("patient_id")["deteriorated"].max().reindex(cohort.table.index)
    late = hourly.loc[hourly["deteriorated"] == 1.0]
    assert late["hour"].min() >= 24
    assert (ill <= cohort.outcomes["deterioration_24h"]).all()


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 9), seed=st.integers(0, 2**32), patients=st.integers(1, 40))
def test_any_number_size_and_seed(count, seed, patients):
    chosen = hospitals(count, seed, patients=patients)
    assert len({hospital.name for hospital in chosen}) == count
    assert hospitals(count + 1, seed, patients=patients)[:count] == chosen
    assert sum("readmission_30d" in hospital.tasks for hospital in chosen) <= 1
    cohort = generate(chosen[-1], seed)
    assert len(cohort.table) == patients
    assert cohort.complete.notna().all(axis=None)
    assert np.isfinite(cohort.truth.to_numpy()).all()
    for name, observable in OBSERVABLES.items():
        if observable.kind != "categorical":
            assert cohort.complete[name].between(observable.limits[0] - 0.1, observable.limits[1] + 0.1).all()


def test_one_patient_can_be_written(tmp_path):
    write_hospitals(tmp_path, hospitals(4, 0, patients=1), 0, hourly=True)
    assert len(_own(tmp_path, "site_04")) == 2  # the patient and a double row


def test_misuse_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match="at least 1"):
        hospitals(0)
    with pytest.raises(DataError, match="2 sizes for 3 hospitals"):
        hospitals(3, patients=[10, 20])
    with pytest.raises(DataError, match="a hospital of 0 patients"):
        hospitals(2, patients=[10, 0])
    few = hospitals(2, patients=5)
    with pytest.raises(DataError, match="'north' is there twice"):
        write_hospitals(tmp_path, [few[0], few[0]], 0)
    write_hospitals(tmp_path, few[:1], 0)
    before = (tmp_path / "north" / "patients.csv").read_bytes()
    with pytest.raises(DataError, match=r"patients\.csv: exists already"):
        write_hospitals(tmp_path, few, 1)
    assert not (tmp_path / "harbour").exists()
    assert (tmp_path / "north" / "patients.csv").read_bytes() == before
    write_hospitals(tmp_path, few, 1, overwrite=True)
    assert (tmp_path / "north" / "patients.csv").read_bytes() != before
