"""What a person types: results, and one sentence with exit status 2 for everything that a person can get wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from sklearn.metrics import roc_auc_score

from client.at_rest.files import MODEL
from client.config import load_site
from client.data.table import load_table
from client.site_rows import TEST
from common.files import read_plan
from tests.conftest import small_content, small_table


def consilium(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def federation(tmp_path: Path) -> Callable[..., Path]:
    def write(**sections: Any) -> Path:
        path = tmp_path / "federation.toml"
        content = small_content()
        for name, changes in sections.items():
            content[name] = {**content.get(name, {}), **changes} if isinstance(changes, dict) else changes
        path.write_text(tomli_w.dumps(content))
        return path

    return write


def assert_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    text = done.stderr.strip()
    assert "Traceback" not in text and len(text.splitlines()) == 1, text
    for word in words:
        assert word in text, text


def test_simulate_writes_result_report_and_model(federation, write_sites, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = consilium("simulate", federation(), "--sites", write_sites(), "--out", out, "--seed", 3)
    assert done.returncode == 0, done.stderr
    assert "death" in done.stdout and "AUROC" in done.stdout
    result = json.loads((out / "result.json").read_text())
    assert result["seed"] == 3 and result["seeds"] == {"split": 3, "training": 3} and result["secure"] is False
    assert result["plan_hash"] == read_plan(out / "plan.json").hash
    learnt = f"99 % of the final mean AUROC (validation rows): after {result['rounds_to_99_percent']} of 3 rounds."
    assert learnt in " ".join(done.stdout.split()) and learnt in (out / "report.html").read_text()
    for name, keys in {
        "death": {"auroc", "auprc", "n"},
        "stay": {"mae", "n"},
        "triage": {"auroc", "accuracy", "n"},
    }.items():
        task = result["tasks"][name]
        assert keys <= set(task["pooled"]) and set(task["per_site"]) == {"north", "south", "west"}
        for site in task["per_site"].values():
            assert site["n"] > 0
    counted = [s["auroc"] for s in result["tasks"]["death"]["per_site"].values() if s["counted"]]
    assert result["tasks"]["death"]["per_site_mean"]["auroc"] == pytest.approx(np.mean(counted), abs=1e-9)
    assert result["tasks"]["death"]["auroc_histogram"]["bound"] < 0.05
    assert "<html" in (out / "report.html").read_text() and (out / "model.safetensors").exists()
    assert not list(out.rglob("*.tmp"))


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
        assert own["auroc"] == pytest.approx(roc_auc_score(truth["died"][test], predicted["death"][test]), abs=1e-6)
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


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"training": {"epochs": 3}}, ["unknown key 'training.epochs'"]),
        ({"training": {"rounds": "three"}}, ["'training.rounds' is 'three'", "valid integer"]),
        (
            {"aggregation": {"strategy": "krum", "secure": True}},
            ["'krum' needs each site's own update", "secure = false"],
        ),
        ({"tasks": [{"name": "x", "label": "age"}]}, ["feature 'age' is the label of task 'x'"]),
        ({"tasks": [{"name": "x", "label": "y", "exclude": ["hr"]}]}, ["'hr'", "no feature"]),
        ({"tasks": []}, ["'tasks'", "at least 1 entry"]),
        ({"data": {"patient": "patient", "keep_rows": "__import__('os')"}}, ["keep_rows", "comparison"]),
    ],
)
def test_wrong_plan_is_one_sentence(sections, words, federation, write_sites, tmp_path: Path) -> None:
    done = consilium("simulate", federation(**sections), "--sites", write_sites(), "--out", tmp_path / "out")
    assert_one_sentence(done, "federation.toml", *words)
    assert not (tmp_path / "out").exists()


def _broken(change: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {"north": small_table(0), "south": change(small_table(1)), "west": small_table(2)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="sbp"), ["south.csv", "'sbp'"]),
        (lambda t: t.assign(age="old"), ["south.csv", "'age'"]),
        (lambda t: t.iloc[:0], ["south.csv", "no rows"]),
        (lambda t: t.drop(columns=["died", "days", "level", "sbp_class"]), ["south", "label"]),
    ],
    ids=["missing column", "text in a number", "empty site", "no labels"],
)
def test_wrong_table_is_one_sentence(change, words, federation, write_sites, tmp_path: Path) -> None:
    done = consilium("simulate", federation(), "--sites", write_sites(**_broken(change)), "--out", tmp_path / "out")
    assert_one_sentence(done, *words)
    assert not (tmp_path / "out").exists()


def test_two_sites_with_one_name(federation, write_sites, tmp_path: Path) -> None:
    sites = write_sites(north=small_table(0))
    small_table(1).to_parquet(sites / "north.parquet")
    assert_one_sentence(
        consilium("simulate", federation(), "--sites", sites, "--out", tmp_path / "o"), "north.csv", "north.parquet"
    )


def test_a_column_in_another_unit_is_named_before_it_is_trained_on(federation, write_sites, tmp_path: Path) -> None:
    sites = write_sites(**_broken(lambda table: table.assign(sbp=table["sbp"] * 100.0)))
    done = consilium("simulate", federation(), "--sites", sites, "--out", tmp_path / "out")
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: south: sbp: ")]
    assert done.returncode == 0 and len(warned) == 1 and "outside the plausible range; check its unit" in warned[0]


def test_unknown_unit(federation, write_sites, tmp_path: Path) -> None:
    sites = write_sites(south=small_table(1), west=small_table(2))
    small_table(0).to_csv(sites / "table.csv", index=False)
    (sites / "site.toml").write_text('[site]\nname = "north"\n[data]\nfiles = ["table.csv"]\n[units]\nsbp = "stone"\n')
    assert_one_sentence(
        consilium("simulate", federation(), "--sites", sites, "--out", tmp_path / "o"), "site.toml", "sbp", "stone"
    )


def test_too_few_sites_and_used_folder(federation, write_sites, tmp_path: Path) -> None:
    plan, out = federation(aggregation={"min_sites": 4}), tmp_path / "out"
    assert_one_sentence(consilium("simulate", plan, "--sites", write_sites(), "--out", out), "min_sites is 4")
    plan = federation()
    assert consilium("simulate", plan, "--sites", write_sites(), "--out", out).returncode == 0
    again = consilium("simulate", plan, "--sites", write_sites(), "--out", out)
    assert_one_sentence(again, "already holds a run", "--resume")
    other = consilium(
        "simulate", plan, "--sites", write_sites(), "--out", out, "--resume", "--set", "training.rounds=9"
    )
    assert_one_sentence(other, "another plan")


def test_task_without_sites(federation, write_sites, tmp_path: Path) -> None:
    plan = federation(tasks=[{"name": "death", "label": "died"}, {"name": "sepsis", "label": "sepsis_3"}])
    done = consilium("simulate", plan, "--sites", write_sites(), "--out", tmp_path / "o")
    assert_one_sentence(done, "task 'sepsis'", "'sepsis_3'", "no site")
    assert not (tmp_path / "o").exists()


def test_demo_removes_nothing_but_an_earlier_demo(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert_one_sentence(consilium("demo", "--out", tmp_path), "holds no earlier demo")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert_one_sentence(consilium("demo", "--out", tmp_path / "thesis.txt"), "this is a file")
    small = ("--set", "training.rounds=1", "--out", tmp_path / "demo")
    assert consilium("demo", *small).returncode == 0
    again = consilium("demo", *small)
    assert again.returncode == 0 and "hypertension" in again.stdout


def test_no_task_with_enough_sites(federation, write_sites, tmp_path: Path) -> None:
    plan = federation(aggregation={"min_task_sites": 4}, tasks=[{"name": "death", "label": "died"}])
    done = consilium("simulate", plan, "--sites", write_sites(), "--out", tmp_path / "o")
    assert_one_sentence(done, "no task can be trained", "min_task_sites")


@pytest.mark.parametrize("damage", [b"", b"not a model", None])
def test_wrong_model_file(damage: bytes | None, write_sites, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    if damage is not None:
        model.write_bytes(damage)
    done = consilium("predict", model, write_sites() / "north.csv", "--out", tmp_path / "p.csv")
    assert_one_sentence(done, "model.safetensors")
    assert not (tmp_path / "p.csv").exists()


def test_plan_show_says_what_leaves(federation) -> None:
    done = consilium("plan", "show", federation())
    assert done.returncode == 0
    for words in (
        "What leaves each site",
        "Plan hash",
        "pressure",
        "does not see sbp",
        "mm[Hg]",
        "coordinator sees each",
    ):
        assert words in done.stdout


def test_site_check_as_table_and_json(federation, write_sites) -> None:
    plan, table = federation(), write_sites() / "north.csv"
    assert "sbp" in consilium("site", "check", table, "--plan", plan).stdout
    report = json.loads(consilium("site", "check", table, "--plan", plan, "--json").stdout)
    assert report["rows"] == 90
