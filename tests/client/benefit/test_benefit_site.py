"""`consilium site benefit` and the predictions after it, on a site whose run has come to its end."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.at_rest.files import MODEL, is_sealed
from client.at_rest.key import vaulted
from client.benefit.answers import GAPS, REASONS, TOO_FEW, UNLIKE
from client.benefit.assess import NO_VALIDATION, assess
from client.benefit.cli import make
from client.benefit.outputs import OUTPUTS, SiteOutputs
from client.benefit.site import PAGE, REPORT, open_site
from client.config import SiteConfig, load_site
from client.predict import predict_file
from client.site_rows import TEST, SiteRows
from common.errors import ConsiliumError, ModelFileError
from common.files import read_bytes
from tests.client.benefit.conftest import ROWS, SITES, run_small
from tests.conftest import small_plan, small_table
from tests.ranks import auroc_between


@pytest.fixture
def made(north: SiteConfig) -> Iterator[dict[str, object]]:
    yield make(north)
    for name in (REPORT, PAGE, OUTPUTS):
        (north.folder / name).unlink(missing_ok=True)


def _predict(north: SiteConfig, table: Path, tmp_path: Path, **options: bool) -> pd.DataFrame:
    out = tmp_path / "predictions.csv"
    predict_file(north.folder / MODEL, table, out, probabilities=options.get("probabilities", False))
    return pd.read_csv(out, keep_default_na=False)


def test_what_it_leaves_is_private_and_models_are_sealed(north: SiteConfig, made: dict[str, object]) -> None:
    for name in (REPORT, PAGE, OUTPUTS):
        assert (north.folder / name).stat().st_mode & 0o777 == 0o600
    sealed, opened = (north.folder / OUTPUTS).read_bytes(), vaulted(north).read(north.folder / OUTPUTS)
    assert is_sealed(sealed) and opened[:64] not in sealed
    assert json.loads((north.folder / REPORT).read_text()) == made
    page = (north.folder / PAGE).read_text()
    assert page.startswith("<!doctype html>") and "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert all(task in page for task in ("death", "stay", "triage", "pressure"))
    identifiers = open_site(north).rows.table.patients.tolist()
    for text in (page, (north.folder / REPORT).read_text()):
        assert not any(patient in text for patient in identifiers)


def test_figures_are_those_of_the_test_rows(north: SiteConfig, made: dict[str, object]) -> None:
    finished = open_site(north)
    evaluation = json.loads((north.folder / "evaluation.json").read_text())
    for name, entry in made["tasks"].items():
        own = evaluation["tasks"][name]
        assert entry["test_rows"] == own["n"]
        for measure in entry["models"]["federated"]:
            assert entry["models"]["federated"][measure] == pytest.approx(own[measure])
        gain = entry["gains"]["federated over local"]
        key, sign = ("mae", -1) if entry["kind"] == "regression" else ("auroc", 1)
        expected = sign * (entry["models"]["federated"][key] - entry["models"]["local"][key])
        assert gain["value"] == pytest.approx(expected, abs=1e-6) and gain["low"] <= gain["value"] <= gain["high"]
        if entry["kind"] == "regression":
            assert 0.75 < entry["calibration"]["within_1_645_scales"] <= 1.0
        else:
            assert {"ece", "ece_if_perfect", "brier"} == set(entry["calibration"]["after"])
        say = entry["cannot_say"]
        assert set(say["reasons"]) <= set(REASONS) and sum(say["reasons"].values()) == pytest.approx(say["share"])
    assert made["patients"] == {
        part: int((finished.rows.table.split == index).sum())
        for index, part in enumerate(("train", "validation", "test"))
    }
    words = " ".join(made["words"])
    assert all(re.search(rf"\b{name}\b", words) for name in made["tasks"])


def test_test_rows_decide_nothing(north: SiteConfig) -> None:
    finished = open_site(north)
    poisoned = SiteRows(north, finished.rows.plan)
    table, test = finished.rows.table, finished.rows.table.split == TEST
    features = np.where(test[:, None], 120.0 - table.features[::-1], table.features).astype("f4")
    features[:, 2:] = table.features[:, 2:]
    labels = np.where(test[:, None], table.labels[::-1], table.labels).astype("f4")
    poisoned.table = replace(table, features=features, labels=labels)
    (clean, outputs), (spoilt, again) = (
        assess(each, least=10) for each in (finished, replace(finished, rows=poisoned))
    )
    assert outputs.to_bytes() == again.to_bytes()
    assert [e["choice"] for e in clean["tasks"].values()] == [e["choice"] for e in spoilt["tasks"].values()]
    assert all(clean["tasks"][name]["models"] != spoilt["tasks"][name]["models"] for name in clean["tasks"])


def test_it_repeats_bit_for_bit(north: SiteConfig) -> None:
    one, two = (assess(open_site(north), least=10) for _ in range(2))
    assert one[0] == two[0] and one[1].to_bytes() == two[1].to_bytes()


def test_outputs_come_back_as_they_were(north: SiteConfig) -> None:
    _, outputs = assess(open_site(north), least=10)
    again = SiteOutputs.from_bytes(outputs.to_bytes(), source="x")
    assert again.tasks == outputs.tasks and again.model == outputs.model
    assert (again.detector.precision == outputs.detector.precision).all()
    assert {n: m.to_bytes() for n, m in again.further.items()} == {n: m.to_bytes() for n, m in outputs.further.items()}
    for spoilt in (
        b"",
        outputs.to_bytes()[:-5],
        outputs.to_bytes().replace(b"consilium/outputs/1", b"consilium/outputs/9"),
    ):
        with pytest.raises(ModelFileError, match="`consilium site benefit` makes it anew"):
            SiteOutputs.from_bytes(spoilt, source="x")


def test_predictions_have_further_columns(north: SiteConfig, made: dict[str, object], tmp_path: Path) -> None:
    found = _predict(north, north.files[0], tmp_path, probabilities=True)
    triage = ["triage", "triage.1", "triage.2", "triage.3", "triage.set", "triage.reason", "triage.model"]
    assert list(found.columns) == [
        "patient",
        *("death", "death.band", "death.set", "death.reason", "death.model"),
        *("stay", "stay.set", "stay.reason", "stay.model"),
        *triage,
        *("pressure", "pressure.band", "pressure.set", "pressure.reason", "pressure.model"),
    ]
    for task in ("death", "stay", "triage", "pressure"):
        assert set(found[f"{task}.model"]) == {made["tasks"][task]["choice"]["model"]}
        assert set(found[f"{task}.reason"]) <= {"", *REASONS}
    silent = found["death.reason"] != ""
    assert set(found.loc[silent, "death.band"]) <= {"cannot say"}
    assert set(found.loc[~silent, "death.band"]) <= {"low", "medium", "high"}
    assert found[["triage.1", "triage.2", "triage.3"]].sum(axis=1).to_numpy() == pytest.approx(1.0)


def test_predictions_are_of_the_chosen_models(north: SiteConfig, made: dict[str, object], tmp_path: Path) -> None:
    found, truth = _predict(north, north.files[0], tmp_path), pd.read_csv(north.files[0])
    rows = open_site(north).rows
    test = truth["patient"].isin(rows.table.patients[rows.table.split == TEST])
    entry = made["tasks"]["death"]
    expected = entry["models"][entry["choice"]["model"]]["auroc"]
    low, high = auroc_between(truth["died"][test], found["death"][test])
    assert low - 1e-6 <= expected <= high + 1e-6
    said = (found["death.reason"] == "")[test]
    assert 1 - said.mean() == pytest.approx(entry["cannot_say"]["share"])
    wrong = ((found["death"] > 0.5) != truth["died"])[test]
    assert wrong.mean() == pytest.approx(entry["cannot_say"]["error_of_all"])
    assert wrong[said].mean() == pytest.approx(entry["cannot_say"]["error_of_the_rest"])


def test_a_shifted_table_says_that_it_cannot_say(north: SiteConfig, made: dict[str, object], tmp_path: Path) -> None:
    usual = pd.read_csv(north.files[0])
    before = (_predict(north, north.files[0], tmp_path)["death.reason"] == UNLIKE).mean()
    assert before < 0.05
    shifted, empty = tmp_path / "shifted.csv", tmp_path / "empty.csv"
    usual.assign(age=118, sbp=275).to_csv(shifted, index=False)
    after = _predict(north, shifted, tmp_path)
    assert (after["death.reason"] == UNLIKE).mean() > 0.9
    assert set(after.loc[after["death.reason"] == UNLIKE, "death.band"]) == {"cannot say"}
    usual.assign(age=np.nan, sbp=np.nan, ward="").to_csv(empty, index=False)
    assert set(_predict(north, empty, tmp_path)["stay.reason"]) <= {GAPS, UNLIKE}


def test_a_bare_model_predicts_as_before(north: SiteConfig, made: dict[str, object], tmp_path: Path) -> None:
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(vaulted(north).read(north.folder / MODEL))
    predict_file(plain, north.files[0], tmp_path / "p.csv", probabilities=False)
    assert list(pd.read_csv(tmp_path / "p.csv").columns) == ["patient", "death", "stay", "triage", "pressure"]


def test_outputs_of_another_model_are_not_used(north: SiteConfig, made: dict[str, object], tmp_path: Path) -> None:
    model, told = north.folder / MODEL, []
    before = vaulted(north).read(model)
    received = open_site(north).received
    try:
        vaulted(north).write(model, replace(received, parameters=received.parameters * 0.9).to_bytes())
        predict_file(model, north.files[0], tmp_path / "p.csv", probabilities=False, warn=told.append)
    finally:
        vaulted(north).write(model, before)
    assert "death.band" not in read_bytes(tmp_path / "p.csv").decode()
    assert len(told) == 1 and "made for another model and is not used; consilium site benefit" in told[0]


def test_no_run_yet_and_another_plan_are_one_sentence(tmp_path: Path) -> None:
    sites = run_small(tmp_path, small_plan(training={"rounds": 1}))
    north, south = (load_site(sites / name) for name in ("north", "south"))
    (north.folder / MODEL).unlink()
    with pytest.raises(ConsiliumError, match=r"enc: no such file; a run that came to its end leaves the model there\."):
        make(north)
    assert south.plan is not None
    south.plan.write_bytes(small_plan(training={"rounds": 2}).canonical)
    with pytest.raises(
        ConsiliumError, match=r"plan\.json: is another plan than that of .*enc; benefit looks at the run"
    ):
        make(south)
    assert not any((config.folder / name).exists() for config in (north, south) for name in (REPORT, PAGE, OUTPUTS))


def test_without_validation_rows_nothing_is_chosen(tmp_path: Path) -> None:
    sites = run_small(tmp_path, small_plan(split={"train": 0.75, "validation": 0.0, "test": 0.25}))
    north = load_site(sites / "north")
    report = make(north)
    assert report["notes"] == [NO_VALIDATION]
    for entry in report["tasks"].values():
        assert entry["choice"]["model"] == "federated" and "fine-tuned" not in entry["models"]
        assert entry["joining"]["gain"]["low"] < entry["joining"]["gain"]["high"]
        assert entry["calibration"]["kind"] == "none" and entry["cannot_say"]["reasons"].keys() <= {
            TOO_FEW,
            UNLIKE,
            GAPS,
        }
    assert set(_predict(north, north.files[0], tmp_path)["death.band"]) == {"cannot say"}


def test_a_plan_that_hides_patients_needs_no_noise_here(tmp_path: Path) -> None:
    privacy = {"unit": "patient", "target_epsilon": 8.0, "expected_patients": 600}
    sites = run_small(tmp_path, small_plan(privacy=privacy))
    ledger = (sites / "north" / "ledger.sqlite").read_bytes()
    report = make(load_site(sites / "north"))
    assert (sites / "north" / "ledger.sqlite").read_bytes() == ledger
    assert report["tasks"]["death"]["models"].keys() == {"federated", "fine-tuned", "local"}


def test_small_groups_are_hidden(tmp_path: Path) -> None:
    tables = {name: small_table(i, rows=ROWS).assign(male=0) for i, name in enumerate(SITES)}
    for table in tables.values():
        table.loc[table.index % 40 == 0, "male"] = 1
    features = [{"name": "age", "range": [0, 120], "unit": "a"}, {"name": "male", "kind": "binary"}]
    plan = small_plan(features=features, tasks=[{"name": "death", "label": "died"}])
    groups = make(load_site(run_small(tmp_path, plan, **tables) / "north"))["tasks"]["death"]["subgroups"]
    assert groups["sex"]["groups"] == {"female": {"shown": False}, "male": {"shown": False}}
    seen = [group for group in groups["age"]["groups"].values() if group["shown"]]
    assert seen and all(group["patients"] >= 10 and group["patients"] % 5 == 0 for group in seen)
