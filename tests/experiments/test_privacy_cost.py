"""The study of what privacy costs: the choice of settings, its measure against the federation's own, its document."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest

from client.config import find_sites
from client.data.split import TEST, VALIDATION
from client.data.table import load_table
from common.errors import ConsiliumError
from common.files import read_bytes, read_plan
from common.model_file import ModelFile
from common.plan import Plan
from experiments.privacy_cost.chosen import Choice, read, write
from experiments.privacy_cost.document import section
from experiments.privacy_cost.study import NONE, Arm, Job, per_site_mean, together
from experiments.privacy_cost.work import choose, grid
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
    measured = per_site_mean(model, [load_table(config, plan) for config in configs], plan, rows=TEST)
    assert measured == pytest.approx(mean(told), abs=1e-6)


@pytest.mark.parametrize("federation", STUDY["federations"], ids=lambda federation: federation["name"])
@pytest.mark.parametrize("name", STUDY["arms"])
def test_every_arm_is_a_plan_with_the_epsilon_that_it_names(federation: dict[str, object], name: str) -> None:
    arm = Arm(**STUDY["arms"][name])
    job = Job(federation, arm, 4.0, 1e-6, grid(STUDY)[0], 7, TEST)
    plan = read_plan(ROOT / "examples" / str(federation["plan"]), overrides=job.overrides())
    assert f"training.rounds={plan.training.rounds}" in job.settings
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
    text = section("heart", values, {title: {"4": ("training.rounds=30",)} for title in titles})
    assert "**0.850 ± 0.071**" in text and text.count("0.750 ± 0.071") == len(titles)
    assert "shared out minus local +0.000" in text and "shared out minus no noise -0.100" in text


def test_the_choice_is_the_best_mean_on_validation_rows_of_its_own_seeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Job] = []

    def told(jobs: list[Job], data: Path, work: Path) -> list[float]:
        asked.extend(jobs)
        return [1.0 if job.settings == grid(STUDY)[2] and job.epsilon == 4.0 else 1.0 / job.seed for job in jobs]

    monkeypatch.setattr("experiments.privacy_cost.work._all", told)
    chosen, means = choose(STUDY, STUDY["federations"][0], tmp_path, tmp_path)
    assert all(own["4"] == grid(STUDY)[2] and own["1"] == grid(STUDY)[0] for own in chosen.values())
    assert len(means) == len(STUDY["arms"]) * len(STUDY["epsilons"]) * len(grid(STUDY))
    assert {job.rows for job in asked} == {VALIDATION}
    assert {job.seed for job in asked} == set(STUDY["federations"][0]["choice_seeds"])
    assert not any(set(each["choice_seeds"]) & set(STUDY["seeds"]) for each in STUDY["federations"])


def test_a_choice_reads_as_it_was_written_and_is_of_its_own_study(tmp_path: Path) -> None:
    path = tmp_path / "chosen.json"
    choice = Choice("abc123", {"heart": {"local noise": {"4": grid(STUDY)[1]}}})
    write(choice, STUDY, path)
    assert read(STUDY, path) == choice == read(STUDY | {"seeds": [7]}, path)
    with pytest.raises(
        ConsiliumError, match=r"chosen\.json: was chosen for another study than .* `make privacy-choice`"
    ):
        read(STUDY | {"delta": 1e-6}, path)


def test_the_choice_that_is_kept_covers_the_whole_table() -> None:
    settings = read(STUDY).settings
    assert set(settings) == {each["name"] for each in STUDY["federations"]}
    for arms in settings.values():
        assert set(arms) == {arm["title"] for arm in STUDY["arms"].values()}
        assert all(set(own) == {f"{epsilon:g}" for epsilon in STUDY["epsilons"]} for own in arms.values())
        assert all(each in grid(STUDY) for own in arms.values() for each in own.values())
