"""Comparisons: pairs are real pairs, intervals cover what is known, and nothing else is compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from common.errors import ConsiliumError, RunError
from common.intervals import over_splits, summarise
from experiments.cli import app
from experiments.compare import comparison, gather, page

SEEDS = range(6)
SITES = ("north", "south")


def result(
    seed: int, *, gain: float = 0.0, rows: int = 40, baseline: str | None = None, **changes: Any
) -> dict[str, Any]:
    """A result whose AUROCs are those of the seed's split, plus `gain`; its error falls by ten times that."""
    random = np.random.default_rng(seed)
    tasks = {}
    for name, kind in (("death", "binary"), ("triage", "multiclass"), ("stay", "regression")):
        measure, sign = ("mae", -10.0) if kind == "regression" else ("auroc", 1.0)
        values = {site: float(random.uniform(0.6, 0.8) + sign * gain) for site in SITES}
        per_site = {
            site: {"n": rows // 2, "train_n": 90, "counted": True, measure: value} for site, value in values.items()
        }
        mean = {measure: float(np.mean(list(values.values()))), "sites": 2, "n": rows}
        tasks[name] = {"kind": kind, "unit": "d" if kind == "regression" else "1", "per_site": per_site}
        tasks[name] |= {"pooled": {"n": rows}, "per_site_mean": mean}
    named = {"baseline": baseline} if baseline else {}
    return {
        "schema": "consilium/result/1",
        **named,
        "seeds": {"split": seed, "training": seed},
        "sites": {site: {} for site in SITES},
        "left_out": {"tasks": {}, "features": {}},
        "tasks": tasks,
        **changes,
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def write_seeds(folder: Path, **options: Any) -> Path:
    for seed in SEEDS:
        write(folder / f"seed{seed}", result(seed, **options))
    return folder


def test_a_known_difference_is_found_everywhere(tmp_path: Path) -> None:
    runs = [write_seeds(tmp_path / "old"), write_seeds(tmp_path / "new", gain=0.03)]
    found = comparison(gather(runs))
    assert found["reference"] == "old" and found["labels"] == ["old", "new"] and found["seeds"] == list(SEEDS)
    rows = [found["mean_over_tasks"], found["tasks"]["death"], found["tasks"]["triage"]]
    summaries = [row["differences"]["new"] for row in rows] + [found["sites"][site]["new"] for site in SITES]
    summaries += [found["tasks"]["death"]["sites"][site]["new"] for site in SITES]
    for summary in summaries:
        assert summary["mean"] == pytest.approx(0.03) and summary["n"] == len(SEEDS)
        assert summary["low"] <= summary["mean"] <= summary["high"] and summary["low"] > 0
    assert found["tasks"]["stay"]["differences"]["new"]["mean"] == pytest.approx(-0.3)
    assert found["mean_over_tasks"]["tasks"] == ["death", "triage"]


def test_identical_runs_differ_by_exactly_zero(tmp_path: Path) -> None:
    found = comparison(gather([write_seeds(tmp_path / "a"), write_seeds(tmp_path / "b")]))
    for task in found["tasks"].values():
        assert task["differences"]["b"] == {"mean": 0.0, "n": 6, "sd": 0.0, "low": 0.0, "high": 0.0}


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """20 differences from a normal distribution around .02: nine in ten intervals and more hold .02, not all."""
    random = np.random.default_rng(7)
    rows = [summarise(random.normal(0.02, 0.02, 20).tolist()) for _ in range(300)]
    covered = np.mean([row["low"] <= 0.02 <= row["high"] for row in rows])
    assert 0.88 < covered < 0.98


def test_interval_over_splits_of_the_same_patients_covers_the_truth() -> None:
    """Ridge regressions and means of 60 patients, split 15 times: bounds for independent values are far too narrow.

    The truth of what each split estimates, the gain of the one over the other from 40 patients, is that over many draws
    of all patients.
    """
    random = np.random.default_rng(3)

    def gains(splits: int) -> list[float]:
        x = random.normal(size=60)
        y = 0.25 * x + random.normal(size=60)
        found = []
        for _ in range(splits):
            order = random.permutation(60)
            train, test = order[:40], order[40:]
            slope = (x[train] @ y[train]) / (x[train] @ x[train] + 1.0)
            found.append(float((y[test] ** 2 - (y[test] - slope * x[test]) ** 2).mean()))
        return found

    truth = np.mean([gains(1)[0] for _ in range(4000)])
    rows = [gains(15) for _ in range(300)]
    wide, narrow = ([each(row) for row in rows] for each in (lambda row: over_splits(row, 20 / 40), summarise))
    covered = [np.mean([row["low"] <= truth <= row["high"] for row in found]) for found in (wide, narrow)]
    assert covered[0] > 0.88 and covered[1] < 0.7


def test_interval_over_splits_is_that_of_the_paper() -> None:
    values = [0.01, 0.03, -0.02, 0.05, 0.0]
    half = 2.7764451 * np.std(values, ddof=1) * np.sqrt(1 / 5 + 0.25 / 0.65)
    row = over_splits(values, 0.25 / 0.65)
    assert (row["low"], row["high"]) == pytest.approx((0.014 - half, 0.014 + half)) and row["n"] == 5


@pytest.mark.parametrize("values", [[0.01, 0.03, -0.02, 0.05, 0.0], [0.2, 0.1]])
def test_interval_moves_and_scales_with_the_differences(values: list[float]) -> None:
    row, moved = summarise(values), summarise([2.0 * value - 0.5 for value in values])
    for key in ("mean", "low", "high"):
        assert moved[key] == pytest.approx(2.0 * row[key] - 0.5)
    assert row == summarise(values)
    assert min(values) <= row["low"] < row["mean"] < row["high"] <= max(values)


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    runs = [write(tmp_path / "a", result(0)), write(tmp_path / "b", result(0, gain=0.1))]
    summary = comparison(gather(runs))["mean_over_tasks"]["differences"]["b"]
    assert summary == {"mean": pytest.approx(0.1), "n": 1}


def test_only_seeds_in_which_a_site_counts_are_paired(tmp_path: Path) -> None:
    runs = [write_seeds(tmp_path / "a"), write_seeds(tmp_path / "b", gain=0.02)]
    for run in runs:
        content = result(0, gain=0.02 if run.name == "b" else 0.0)
        content["tasks"]["death"]["per_site"]["north"]["counted"] = False
        write(run / "seed0", content)
    found = comparison(gather(runs))
    assert found["tasks"]["death"]["sites"]["north"]["b"]["n"] == len(SEEDS) - 1
    assert found["sites"]["north"]["b"]["n"] == len(SEEDS)


def test_labels_put_seeds_together_and_baselines_keep_their_names(tmp_path: Path) -> None:
    ours = [write(tmp_path / f"run{seed}", result(seed)) for seed in (0, 1)]
    theirs = tmp_path / "baselines"
    for seed in (0, 1):
        for name in ("pooled", "svm_local"):
            write(theirs / f"seed{seed}" / name, result(seed, baseline=name))
    runs = gather([*ours, theirs], labels=["federation", "federation", "b"])
    assert list(runs) == ["federation", "b/pooled", "b/svm_local"]
    assert list(gather([ours[0], theirs / "seed0"])) == ["run0", "pooled", "svm_local"]


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (result(0), result(1), "has runs of split seed 0, but 'b' of 1"),
        (result(0), result(0, rows=42), "judged on 40 test rows of 2 sites, 'b' on 42"),
        (result(0), result(0, tasks={"death": result(0)["tasks"]["death"]}), "task 'stay' is in one of them only"),
        (result(0), result(0, schema="consilium/result/9"), "schema is 'consilium/result/9'"),
    ],
)
def test_what_is_no_pair_is_refused(ours: Any, theirs: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConsiliumError, match=message) as caught:
        gather([write(tmp_path / "a", ours), write(tmp_path / "b", theirs)])
    assert "\n" not in str(caught.value)


def test_wrong_calls_are_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "a", result(0))
    again = write(tmp_path / "b", result(0))
    with pytest.raises(RunError, match="needs at least two labels"):
        gather([run])
    with pytest.raises(RunError, match="both 'x' with split seed 0"):
        gather([run, again], labels=["x", "x"])
    with pytest.raises(RunError, match=r"--labels names 1 label\(s\) for 2"):
        gather([run, again], labels=["x"])
    with pytest.raises(RunError, match=r"no result\.json in this folder"):
        gather([run, tmp_path / "nowhere"])
    (again / "result.json").write_text("{")
    with pytest.raises(ConsiliumError, match="not JSON"):
        gather([run, again])


def test_a_task_that_one_run_left_out_is_named_and_not_judged(tmp_path: Path) -> None:
    short = result(0)
    del short["tasks"]["triage"]
    short["left_out"]["tasks"]["triage"] = "one class"
    found = comparison(gather([write(tmp_path / "a", result(0)), write(tmp_path / "b", short)]))
    assert found["left_out"] == ["triage"] and found["mean_over_tasks"]["tasks"] == ["death"]


def test_command_writes_table_json_and_one_page_that_loads_nothing(tmp_path: Path) -> None:
    runs = [write_seeds(tmp_path / "old"), write_seeds(tmp_path / "<new>", gain=0.03)]
    numbers, figure = tmp_path / "c.json", tmp_path / "c.html"
    arguments = ["compare", *map(str, runs), "--json", str(numbers), "--figure", str(figure)]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})
    assert done.exit_code == 0 and "+0.030" in done.output and "mean of 2" in done.output
    found = json.loads(numbers.read_text())
    assert found == comparison(gather(runs))
    html = figure.read_text()
    assert html == page(found)
    own = html.split("<body>")[1].split("<script")[0]
    assert "&lt;new&gt;" in own and "<new>" not in own and "src=" not in own and "http" not in own
    assert html.count('class="chart"') == 4  # all tasks; then tasks, hospitals and the error of the one comparison
