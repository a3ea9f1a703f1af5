"""What a person types: results, and one sentence with exit status 2 for everything that a person can get wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.files import read_plan
from tests.conftest import small_table
from tests.e2e.conftest import assert_one_sentence, consilium


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
    assert done.returncode == 0 and len(warned) == 1 and "outside the plausible range; they look like Pa" in warned[0]


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
