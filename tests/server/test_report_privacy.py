"""Page and terminal of a run with noise, in each of the three private modes: true words, and no chart without data."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from client.config import find_sites
from common.plan import plan_from_dict
from experiments.simulate import simulate
from server.dashboard.report import page
from server.dashboard.rounds import rounds_line
from server.result import rounds_to_99_percent
from server.terminal import result_table
from tests.conftest import small_content, small_table
from tests.server.test_report import Parsed, figures_of

SITES = ("east", "north", "south", "west")
PATIENT = {"unit": "patient", "expected_patients": 780}
MODES: dict[str, dict[str, Any]] = {
    "local": PATIENT | {"noise": "local", "noise_multiplier": 0.6},
    "shared": PATIENT | {"noise": "shared", "target_epsilon": 8.0},
    "hospital": {"unit": "hospital", "noise": "shared", "noise_multiplier": 0.1},
}
each_mode = pytest.mark.parametrize("mode", MODES)
LINES = {
    "local": (
        "Noise, made by each hospital itself, hides each patient: each hospital's ledger holds its epsilon at delta = "
        "1e-05; all that left but the declared weights had noise."
    ),
    "shared": (
        "Noise, shared out among the hospitals, hides each patient: epsilon is at most 8 at delta = 1e-05; all that "
        "left but the declared weights had noise."
    ),
    "hospital": ("There is no overall epsilon: survey, evaluation and declared weights had no noise."),
}
NO_CURVE = {
    "local": "The test patients were counted once, under noise",
    "shared": "The test patients were counted once",
}
NO_CURVE["hospital"] = "A round's sum held noised updates and no tallies beside them, so there is no learning curve."


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Mode -> result.json of a small run of it, over the same four hospitals."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "hospitals").mkdir()
    for seed, name in enumerate(SITES):
        small_table(seed, 300).to_csv(folder / "hospitals" / f"{name}.csv", index=False)
    for mode, rules in MODES.items():
        content = small_content() | {"privacy": rules}
        content["aggregation"] = {"secure": rules["noise"] == "shared", "min_sites": 4}
        simulate(plan_from_dict(content, source=mode), find_sites(folder / "hospitals"), folder / mode)
    return {mode: json.loads((folder / mode / "result.json").read_bytes()) for mode in MODES}


def _deployed(result: dict[str, Any]) -> dict[str, Any]:
    """The same, as a coordinator has it that cannot read the sites' files."""
    tasks = {name: task | {"per_site": {}} for name, task in result["tasks"].items()}
    return result | {"sites": {}, "tasks": tasks}


def _seen(result: dict[str, Any]) -> str:
    return " ".join(Parsed(page(result)).visible().split())


@each_mode
def test_the_page_says_whom_the_noise_hides_and_why_there_is_no_learning_curve(results, mode: str) -> None:
    text = _seen(results[mode])
    assert LINES[mode] in text and text.count("hides each") == 1
    assert NO_CURVE[mode] in text and text.count("no learning curve") == 1
    assert f"clipped to norm {results[mode]['clip_norm']:g}, under noise" in text
    assert ("score histograms, under noise" in text) == (mode != "hospital")
    assert "Epsilon bounds what this can tell about any one" in text and "1/2 or 1, in the open" in text
    assert "could study it" not in text  # what is seen of an update is noised, or masked


@pytest.mark.parametrize("bound", [0.005, 0.4078])
def test_the_page_says_where_few_bins_may_have_moved_a_pooled_figure_too(results, bound: float) -> None:
    tasks = {name: task | {"auroc_histogram": None} for name, task in results["shared"]["tasks"].items()}
    tasks["death"] = tasks["death"] | {"auroc_histogram": {"auroc": 0.7, "bound": bound, "bins": 4}}
    text = _seen(results["shared"] | {"tasks": tasks})
    assert ("from 4 score bins only, which may move it by up to 0.41 more" in text) == (bound > 0.01)


def test_counts_under_noise_carry_it(results) -> None:
    task = results["shared"]["tasks"]["death"]
    assert f"{task['pooled']['n']:,} \u00b1 {round(task['noise']['n'])}" in _seen(results["shared"])


def test_without_noise_the_page_says_so_and_has_its_curves(results, write_sites, tmp_path: Path) -> None:
    result = simulate(plan_from_dict(small_content(), source="plain"), find_sites(write_sites()), tmp_path / "out")
    text = _seen(result)
    assert "No noise was added" in text and "no epsilon can be given" in text
    assert ", under noise" not in text and "no learning curve" not in text
    assert page(result).count("AUROC of the validation patients, by round.") == 3


@each_mode
@pytest.mark.parametrize("deployed", [False, True], ids=["simulated", "deployed"])
def test_no_chart_is_empty(results, mode: str, deployed: bool) -> None:
    result = _deployed(results[mode]) if deployed else results[mode]
    text = page(result)
    parsed = Parsed(text)
    assert "of the validation patients, by round" not in text
    # With local noise a norm is that of a noised update, which may be told; elsewhere only a simulation has norms.
    assert ("Update norm by round" in text) == (not deployed or mode == "local")
    places = [attributes["id"] for _, attributes in parsed.tags if attributes.get("class") == "chart"]
    figures = figures_of(text)
    assert places == list(figures) and places
    for figure in figures.values():
        assert all(len(trace["x"]) > 0 for trace in figure["data"])
        assert any(len(trace["x"]) > 1 or "z" in trace for trace in figure["data"]), figure


@each_mode
def test_no_round_count_is_told_where_the_rounds_had_no_scores(results, mode: str) -> None:
    assert "rounds_to_99_percent" not in results[mode]
    assert "of the final AUROC after" not in _seen(results[mode])
    told = "Rounds to 99 % of the final AUROC: not known, for under noise the rounds have no scores."
    assert told == rounds_line(results[mode]) and told in _seen(results[mode])


def test_a_round_count_needs_scores_of_two_rounds() -> None:
    history = [{"round": number, "tasks": {}} for number in (1, 2)]
    end = {"round": 3, "tasks": {"death": {"auroc": 0.9}}}
    assert rounds_to_99_percent([*history, end]) is None
    assert rounds_to_99_percent([history[0], {"round": 2, "tasks": {"death": {"auroc": 0.895}}}, end]) == 1


@each_mode
def test_the_terminal_has_the_same_words_below_its_table(results, mode: str) -> None:
    console = Console(width=200, file=StringIO())
    console.print(result_table(results[mode], encoding="ascii"))
    shown = console.file.getvalue()
    words = " ".join(shown.split())
    assert LINES[mode] in words and NO_CURVE[mode] in words and rounds_line(results[mode]) in words
    task = results[mode]["tasks"]["death"]
    score = f"{task['pooled']['auroc']:.3f}"
    assert (f"{score} +- {task['noise']['auroc']:.3f}" if "noise" in task else score) in words
    assert ("+-" in words) == (mode != "hospital")
