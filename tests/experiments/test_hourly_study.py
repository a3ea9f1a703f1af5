"""The study of docs/hourly.md on a tiny federation: what is run, that it is kept, and the tables as hand-worked."""

import re
from collections.abc import Iterator
from statistics import mean

import pytest
import tomli_w

from client.config import find_sites
from common.errors import RunError
from experiments.compare.gather import Runs
from experiments.hourly import study as module
from experiments.hourly.document import document, measures, values
from experiments.hourly.study import ENCODERS, Study, article, encoders, fresh_seeds
from experiments.results.document import _COMPARISON
from tests.hourly import hourly_content, hourly_plan, hourly_tables, write_site

SEEDS = [100, 101]
QUICK = (("tcn", "federated"), ("tcn", "pooled"), ("mlp", "federated"), ("summaries", "svm_pooled"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("hourly")
    for seed, name in enumerate(("east", "north", "south")):
        write_site(folder / "hospitals", name, *hourly_tables(seed))
    (folder / "plan.toml").write_text(tomli_w.dumps(hourly_content()))
    return Study(folder / "plan.toml", find_sites(folder / "hospitals"), folder / "work", ("training.rounds=1",))


@pytest.fixture(scope="module")
def runs(study: Study) -> Runs:
    return study.runs(QUICK, SEEDS, str)


def test_runs_are_of_their_encoder_and_seed_and_of_the_same_rows(study: Study, runs: Runs) -> None:
    assert list(runs) == ["tcn federated", "tcn pooled", "mlp federated", "svm_pooled"]
    assert all(list(found) == SEEDS for found in runs.values())
    sizes = {label: {run["parameters"] for run in found.values()} for label, found in runs.items()}
    assert sizes["tcn federated"] == sizes["tcn pooled"] != sizes["mlp federated"]
    assert not any(run["secure"] for run in runs["tcn federated"].values())
    assert {run["rounds"] for run in runs["mlp federated"].values()} == {1}


def test_what_was_measured_is_kept_and_not_run_again(study: Study, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("run again")

    monkeypatch.setattr(module, "run_baselines", refuse)
    monkeypatch.setattr("experiments.simulate.run", refuse)
    assert study.runs(QUICK, SEEDS, str) == runs


def test_a_baseline_that_was_cut_off_is_made_again_and_one_of_another_plan_refused(study: Study, runs: Runs) -> None:
    summary = study.work / "tcn" / "pooled" / "100" / "baselines.json"
    before = (summary.parent / "pooled" / "result.json").read_text()
    summary.unlink()
    study.run(("tcn", "pooled"), 100, str)
    after = (summary.parent / "pooled" / "result.json").read_text()
    without = [re.sub(r'"seconds": [0-9.]+', "", text) for text in (before, after)]
    assert without[0] == without[1]
    other = Study(study.plan_file, study.sites, study.work, ("training.rounds=2",))
    for run in QUICK:
        with pytest.raises(RunError, match=r"another plan|different plan"):
            other.run(run, 100, str)


def test_every_encoder_and_the_articles_comparison_are_asked_for() -> None:
    names = ("tcn", "lstm", "gru", "attention", "mlp")
    assert {hourly_plan(encoder=name).model.sequence_encoder for name in names} == {name for name, _ in encoders()}
    assert all((name, how) in encoders() for name in names for how in ("federated", "pooled"))
    methods = {method for _, method in article()}
    assert set(_COMPARISON) <= methods and all((name, "single_task") in article() for name in names)
    assert fresh_seeds()[0] == 100 and len(fresh_seeds()) >= 20


def test_values_are_means_over_tasks_of_a_runs_own_figures(runs: Runs) -> None:
    columns = measures(hourly_plan())
    assert columns == {"stays": ("death",), "shock": ("shock",), "worse": ("worse",)}
    for run, found in zip(
        runs["mlp federated"].values(), values(runs, "mlp federated", ["shock", "worse"]), strict=True
    ):
        sites = [run["tasks"][task]["per_site"].values() for task in ("shock", "worse")]
        own = [mean(site["auroc"] for site in each if site["counted"]) for each in sites]
        assert found == pytest.approx(mean(own), abs=1e-9)


def _made_up() -> Iterator[tuple[str, dict[int, dict]]]:
    """AUROCs of which every mean and difference is known: .6, each encoder .01 more than the one before, pooled .1."""
    labels = [f"{encoder} {how}" for encoder, how in {*encoders(), *article()} if encoder != "summaries"]
    for label in [*sorted(labels), *(method for encoder, method in article() if encoder == "summaries")]:
        encoder = label.split()[0]
        base = 0.6 + 0.01 * (ENCODERS.index(encoder) if encoder in ENCODERS else len(ENCODERS))
        base += 0.1 * label.endswith(" pooled")
        yield (
            label,
            {
                seed: {
                    "site_count": 3,
                    "parameters": 1200,
                    "seconds": 7.4,
                    "tasks": {
                        name: {"per_site_mean": {"auroc": base + 0.02 * (seed - 100)}}
                        for name in ("death", "shock", "worse")
                    },
                }
                for seed in SEEDS
            },
        )


def test_tables_say_what_the_figures_say() -> None:
    runs = dict(_made_up())
    text = document(hourly_plan(), runs, runs, plan_file="x.toml", commit="abc", svm=5000)
    rows = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *cells = line[2:-2].split(" | ")
            rows[first] = cells
    assert rows["tcn federated"] == [*["0.610 ± 0.014"] * 3, "1,200", "7"]
    assert rows["lstm pooled"][:3] == ["0.720 ± 0.014"] * 3
    assert rows["tcn federated minus tcn pooled"] == ["-0.100 [-0.100, -0.100]"] * 3
    assert rows["gru federated minus mlp federated"] == ["-0.020 [-0.020, -0.020]"] * 3
    assert rows["tcn pooled minus svm_pooled"] == ["+0.050 [+0.050, +0.050]"] * 3
    assert rows["shock"][0] == "0.610 ± 0.014" and rows["death"][4] == "0.650 ± 0.014"
    assert "Seeds 100 to 101" in text and "Shock and worse are asked at each hour" in text
    without = document(hourly_plan(), runs, None, plan_file="x.toml", commit="abc", svm=5000)
    assert "article" not in without and text.startswith(without.rstrip())
    assert "with its defaults, 3 sites" in text
    other = document(hourly_plan(), runs, None, plan_file="x.toml", commit="abc", svm=5000, changes=["a.b=1"])
    assert "with `a.b=1`, 3 sites" in other and "defaults" not in other.partition("All cells")[0]
