"""The study of what privacy costs: its measure against the federation's own, and one private run of each arm."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest

from client.config import find_sites
from client.data.table import load_table
from common.files import read_bytes, read_plan
from common.model_file import ModelFile
from common.plan import Plan
from experiments.privacy_cost import NONE, Arm, overrides, per_site_mean, section, together
from experiments.results.study import ROOT
from experiments.simulate import simulate

STUDY = tomllib.loads((ROOT / "examples" / "privacy.toml").read_text())


def test_the_measure_is_that_of_the_final_evaluation(
    make_plan: Callable[..., Plan], write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    """The federation adds up the same metrics, which each site computes on its own rows."""
    plan = make_plan(training={"rounds": 2}, evaluation={"min_train_rows": 5})
    configs = find_sites(write_sites())
    result = simulate(plan, configs, tmp_path / "run")
    model = ModelFile.from_bytes(read_bytes(tmp_path / "run" / "model.safetensors"), source="run")
    told = [task["per_site_mean"]["auroc"] for task in result["tasks"].values() if "auroc" in task["per_site_mean"]]
    assert len(told) > 1
    measured = per_site_mean(model, [load_table(config, plan) for config in configs], plan)
    assert measured == pytest.approx(mean(told), abs=1e-6)


@pytest.mark.parametrize("federation", STUDY["federations"], ids=lambda federation: federation["name"])
@pytest.mark.parametrize("name", STUDY["arms"])
def test_every_arm_is_a_plan_with_the_epsilon_that_it_names(federation: dict[str, object], name: str) -> None:
    arm = Arm(**STUDY["arms"][name])
    plan = read_plan(ROOT / "examples" / str(federation["plan"]), overrides=overrides(arm, federation, 4.0, 1e-6, 7))
    assert (plan.privacy.unit, plan.privacy.target_epsilon, plan.privacy.delta) == ("patient", 4.0, 1e-6)
    assert (plan.seeds.split, plan.seeds.training) == (7, 7)
    assert plan.privacy.expected_patients == federation["patients"]
    assert plan.aggregation.secure is not arm.pooled
    assert plan.privacy.pooled_steps is (name == "shared")


def test_all_tables_together_hold_every_row(plan: Plan, write_sites: Callable[..., Path]) -> None:
    configs = find_sites(write_sites())
    apart = [load_table(config, plan) for config in configs]
    pooled = load_table(together(configs), plan)
    assert sorted(pooled.patients.tolist()) == sorted(name for table in apart for name in table.patients.tolist())


def test_the_document_shows_every_value_and_paired_differences() -> None:
    titles = [arm["title"] for arm in STUDY["arms"].values()]
    values = {NONE: {"∞": [0.8, 0.9]}} | {title: {"4": [0.7, 0.8]} for title in titles}
    text = section("heart", values)
    assert "**0.850 ± 0.071**" in text and text.count("0.750 ± 0.071") == len(titles)
    assert "shared out minus local +0.000" in text and "shared out minus no noise -0.100" in text
