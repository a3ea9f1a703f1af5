"""Predictions of a site whose benefit report is made: further columns, bands, and what cannot be said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from client.at_rest.files import MODEL
from client.at_rest.key import vaulted
from client.benefit.answers import GAPS, REASONS, UNLIKE
from client.benefit.site import open_site
from client.config import SiteConfig
from client.predict import predict_file
from client.site_rows import TEST
from common.files import read_bytes
from experiments.cli import app
from tests.client.benefit.conftest import predictions
from tests.ranks import auroc_between


def test_predictions_have_further_columns(north: SiteConfig, made: dict[str, object], tmp_path: Path) -> None:
    found = predictions(north, north.files[0], tmp_path, probabilities=True)
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
    found, truth = predictions(north, north.files[0], tmp_path), pd.read_csv(north.files[0])
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
    before = (predictions(north, north.files[0], tmp_path)["death.reason"] == UNLIKE).mean()
    assert before < 0.05
    shifted, empty = tmp_path / "shifted.csv", tmp_path / "empty.csv"
    usual.assign(age=118, sbp=275).to_csv(shifted, index=False)
    after = predictions(north, shifted, tmp_path)
    assert (after["death.reason"] == UNLIKE).mean() > 0.9
    assert set(after.loc[after["death.reason"] == UNLIKE, "death.band"]) == {"cannot say"}
    usual.assign(age=np.nan, sbp=np.nan, ward="").to_csv(empty, index=False)
    assert set(predictions(north, empty, tmp_path)["stay.reason"]) <= {GAPS, UNLIKE}


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


def test_a_prediction_says_within_which_bounds_a_risk_is_low(
    north: SiteConfig, made: dict[str, object], tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    done = CliRunner().invoke(app, ["predict", str(north.folder / MODEL), str(north.files[0]), "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = pd.read_csv(out, keep_default_na=False)
    for task in ("death", "pressure"):
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{task}.band: "))
        low, high = (float(part.rstrip("%.,")) / 100 for part in line.split() if "%" in part)
        assert low < high
        assert (found.loc[found[f"{task}.band"] == "low", task] < low + 0.001).all()
        assert (found.loc[found[f"{task}.band"] == "high", task] > high - 0.001).all()
        assert found.loc[found[f"{task}.band"] == "medium", task].between(low - 0.001, high + 0.001).all()
    assert {"low", "high"} <= set(found["death.band"]) and "stay.band" not in done.stdout
