"""Predictions as a person gets them: what was judged, ordered classes, and a file that is no model."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.at_rest.files import MODEL
from client.config import load_site
from client.data.table import load_table
from client.site_rows import TEST
from common.files import read_plan
from tests.conftest import small_content
from tests.e2e.conftest import assert_one_sentence, consilium
from tests.ranks import auroc_between


def test_predict_reproduces_the_auroc_of_the_result(federation, write_sites, tmp_path: Path) -> None:
    out, sites = tmp_path / "out", write_sites()
    assert consilium("simulate", federation(), "--sites", sites, "--out", out).returncode == 0
    result, plan = json.loads((out / "result.json").read_text()), read_plan(out / "plan.json")
    for site in ("north", "south", "west"):
        predictions = tmp_path / f"{site}.csv"
        model = out / "sites" / site / MODEL  # the encrypted copy that *finish* left at the site
        assert consilium("predict", model, sites / f"{site}.csv", "--out", predictions).returncode == 0
        predicted, truth = pd.read_csv(predictions), pd.read_csv(sites / f"{site}.csv")
        assert list(predicted.columns) == ["patient", "death", "stay", "triage", "pressure"]
        assert list(predicted["patient"]) == list(truth["patient"])
        table = load_table(load_site(sites / f"{site}.csv"), plan)
        test = truth["patient"].isin(table.patients[table.split == TEST])
        own = result["tasks"]["death"]["per_site"][site]
        low, high = auroc_between(truth["died"][test], predicted["death"][test])
        assert low - 1e-6 <= own["auroc"] <= high + 1e-6
        error = (predicted["stay"] - truth["days"])[test].abs().mean()
        assert result["tasks"]["stay"]["per_site"][site]["mae"] == pytest.approx(error, rel=1e-4)
        accuracy = (predicted["triage"] == truth["level"])[test].mean()
        assert result["tasks"]["triage"]["per_site"][site]["accuracy"] == pytest.approx(accuracy)


def test_ordered_classes_from_the_plan_to_predictions(federation, write_sites, tmp_path: Path) -> None:
    """In secure sums: the result's figures are those of the predictions of each site's test rows."""
    ordered = {"name": "triage", "kind": "ordinal", "label": "level", "classes": [1, 2, 3]}
    tasks = [ordered, *small_content()["tasks"][:2]]
    out, sites = tmp_path / "out", write_sites()
    done = consilium("simulate", federation(tasks=tasks, aggregation={"secure": True}), "--sites", sites, "--out", out)
    assert done.returncode == 0, done.stderr
    result, plan = json.loads((out / "result.json").read_text()), read_plan(out / "plan.json")
    task, errors = result["tasks"]["triage"], []
    for site in ("north", "south", "west"):
        predictions = tmp_path / f"{site}.csv"
        model = out / "model.safetensors"
        done = consilium("predict", model, sites / f"{site}.csv", "--out", predictions, "--probabilities")
        assert done.returncode == 0, done.stderr
        predicted, truth = pd.read_csv(predictions), pd.read_csv(sites / f"{site}.csv")
        each = predicted[[f"triage.{code}" for code in (1, 2, 3)]].to_numpy()
        assert (each >= 0).all() and each.sum(axis=1) == pytest.approx(np.ones(len(each)))
        assert list(predicted["triage"]) == list(1 + (each[:, ::-1].cumsum(axis=1)[:, 1::-1] > 0.5).sum(axis=1))
        table = load_table(load_site(sites / f"{site}.csv"), plan)
        test = truth["patient"].isin(table.patients[table.split == TEST])
        error = (predicted["triage"] - truth["level"])[test].abs()
        assert task["per_site"][site]["mae"] == pytest.approx(error.mean())
        errors += error.tolist()
    assert task["pooled"]["mae"] == pytest.approx(np.mean(errors), abs=1e-5)
    assert {"kappa", "accuracy", "auroc", "brier"} <= set(task["pooled"])
    assert "ordered classes" in (out / "report.html").read_text()


@pytest.mark.parametrize("damage", [b"", b"not a model", None])
def test_wrong_model_file(damage: bytes | None, write_sites, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    if damage is not None:
        model.write_bytes(damage)
    done = consilium("predict", model, write_sites() / "north.csv", "--out", tmp_path / "p.csv")
    assert_one_sentence(done, "model.safetensors")
    assert not (tmp_path / "p.csv").exists()
