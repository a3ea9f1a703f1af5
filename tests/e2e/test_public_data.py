"""The examples on real hospitals' data: from end to end, over five seeds, above the floors of the first version."""

import json
from pathlib import Path
from statistics import mean

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from client.config import find_sites, load_site
from client.data.table import load_table
from client.predict import predict_file
from client.site_rows import TEST
from common.files import read_plan
from experiments.results.study import ROOT, Example, examples, federations, mean_over_tasks
from experiments.simulate import simulate

pytestmark = [pytest.mark.data, pytest.mark.slow]
_FLOOR = {"heart.toml": 0.70, "eicu.toml": 0.68, "heart-flamby.toml": 0.77}


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.plan)
def test_example_is_above_its_floor(example: Example, public_data: Path, tmp_path: Path) -> None:
    results = federations(example, public_data, example.seeds, tmp_path)
    values = mean_over_tasks(results, example.measure)
    assert mean(values) >= _FLOOR[example.plan], values
    for result in results:
        assert not result["left_out"]["tasks"]
        assert result["site_count"] == len(find_sites(public_data / example.sites)) == len(result["sites"])


@pytest.mark.parametrize("example", ["heart.toml", "eicu.toml"])
def test_secure_sums_give_what_plain_sums_give(example: str, public_data: Path, tmp_path: Path) -> None:
    chosen = next(each for each in examples() if each.plan == example)
    tasks = []
    for secure in ("true", "false"):
        plan = read_plan(ROOT / "examples" / example, overrides=(f"aggregation.secure={secure}",))
        result = simulate(plan, find_sites(public_data / chosen.sites), tmp_path / secure)
        assert result["secure"] == (secure == "true")
        tasks.append(result["tasks"])
    for name, plain in tasks[1].items():
        ours = tasks[0][name]
        assert ours["per_site_mean"]["sites"] == plain["per_site_mean"]["sites"]
        assert ours["per_site_mean"]["auroc"] == pytest.approx(plain["per_site_mean"]["auroc"], abs=0.002)
        assert set(ours["per_site"]) == set(plain["per_site"])
        for site, own in plain["per_site"].items():
            if own["counted"]:
                # Rounding may swap two patients whose scores are all but equal; one pair is all that a few rows allow.
                pairs = own["positives"] * (own["n"] - own["positives"])
                other = ours["per_site"][site]["auroc"]
                assert other == pytest.approx(own["auroc"], abs=max(0.002, 1 / pairs)), (name, site)


def test_prediction_of_a_site_reproduces_its_result(public_data: Path, tmp_path: Path) -> None:
    plan = read_plan(ROOT / "examples" / "heart.toml", overrides=("training.rounds=5",))
    sites, out = public_data / "fed_heart", tmp_path / "run"
    simulate(plan, find_sites(sites), out)
    result = json.loads((out / "result.json").read_text())
    for site in ("cleveland", "hungary"):
        predictions = tmp_path / "p.csv"
        predict_file(out / "model.safetensors", sites / f"{site}.csv", predictions, probabilities=False)
        table = load_table(load_site(sites / f"{site}.csv"), plan)
        predicted = pd.read_csv(predictions, dtype={plan.data.patient: str}).set_index(plan.data.patient)
        chosen = table.split == TEST
        for index, task in enumerate(plan.tasks):
            truth = pd.Series(table.labels[chosen, index], index=table.patients[chosen]).dropna()
            own = result["tasks"][task.name]["per_site"][site]
            assert own["n"] == len(truth)
            if "auroc" in own:
                scores = predicted.loc[truth.index, task.name]
                assert own["auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
