"""The chapter "Was it worth joining?" and rounds to 99 %: sentences, numbers, escaping and absent parts."""

import json
from copy import deepcopy
from typing import Any

import pytest

from server.dashboard.joining import Gain, gains, mean_aurocs, verdict_words
from server.dashboard.report import page
from server.result import rounds_to_99_percent
from tests.server.test_report import SAMPLE, Parsed, widened


def auroc(task: str, together: float, alone: float) -> Gain:
    return Gain(task, "auroc", "", together, alone)


def error(task: str, together: float, alone: float) -> Gain:
    return Gain(task, "mae", "d", together, alone)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ([], "no task has enough patients here to tell whether joining helped."),
        ([auroc("a", 0.8, 0.75)], "joining helped the one task that counts here (a by 0.050)."),
        ([auroc("a", 0.8, 0.809)], "joining made no difference to the one task that counts here (within 0.01)."),
        ([auroc("triage_level", 0.7, 0.8)], "the one task that counts here did better alone (triage level by 0.100)."),
        ([auroc("a", 0.8, 0.7), auroc("b", 0.9, 0.7)], "joining helped both tasks (b by 0.200 and a by 0.100)."),
        (
            [auroc("a", 0.8, 0.7), auroc("b", 0.7, 0.7), error("stay", 2.0, 2.001)],
            "joining helped 1 of 3 tasks (a by 0.100) and made no difference to 2 (within 0.01 or 1 % of the error).",
        ),
        (
            [auroc("a", 0.8, 0.7), error("stay", 2.0, 1.5)],
            "joining helped 1 of 2 tasks (a by 0.100), and 1 did better alone (stay by 0.50 d).",
        ),
        (
            [auroc("a", 0.80, 0.78), error("stay", 2, 3), auroc("c", 0.7, 0.7), auroc("triage_level", 0.7, 0.715)],
            "joining helped 2 of 4 tasks (stay by 1.00 d and a by 0.020), made no difference to 1 (within 0.01), "
            "and 1 did better alone (triage level by 0.015).",
        ),
        (
            [auroc(name, 0.8, 0.7 - index / 100) for index, name in enumerate("abcde")],
            "joining helped all 5 tasks (e by 0.140, d by 0.130, c by 0.120 and 2 more).",
        ),
        (
            [*(auroc(name, 0.8, 0.7) for name in "abc"), error("stay", 20.0, 22.06)],
            "joining helped all 4 tasks (a by 0.100, b by 0.100, c by 0.100 and stay by 2.1 d).",
        ),
    ],
)
def test_one_sentence_says_what_joining_changed(of: list[Gain], words: str) -> None:
    assert verdict_words(of) == words


@pytest.mark.parametrize("hundredths", range(2, 99))
def test_exactly_one_hundredth_is_a_difference_wherever_it_lies(hundredths: int) -> None:
    low, high = hundredths / 100, (hundredths + 1) / 100
    assert (auroc("a", high, low).verdict, auroc("a", low, high).verdict) == (1, -1)
    assert auroc("a", low + 0.0099, low).verdict == auroc("a", low, low + 0.0099).verdict == 0


def test_an_error_is_better_where_it_is_less_and_is_measured_by_itself() -> None:
    assert [error("stay", together, 2.0).verdict for together in (1.97, 1.99, 2.01, 2.03)] == [1, 0, 0, -1]
    assert [error("stay", together, 0.0).verdict for together in (0.0, 0.1)] == [0, -1]


def test_rounds_to_99_percent() -> None:
    def curve(*means: float) -> list[dict[str, Any]]:
        return [
            {"round": index, "tasks": {"a": {"auroc": mean - 0.1}, "b": {"auroc": mean + 0.1}, "stay": {"mae": 1.0}}}
            for index, mean in enumerate(means, start=1)
        ]

    assert rounds_to_99_percent(curve(0.5, 0.7, 0.793, 0.79, 0.8)) == 4  # .792 are needed
    assert rounds_to_99_percent(curve(0.5, 0.795, 0.81, 0.8)) == 1
    assert rounds_to_99_percent(curve(0.8, 0.8)) == 0
    assert rounds_to_99_percent(curve(0.9, 0.6, 0.8)) == 2  # reached at first, then lost again
    broken = curve(0.5, 0.8, 0.8)
    del broken[1]["tasks"]["b"]
    assert rounds_to_99_percent(broken) == 2
    assert rounds_to_99_percent([{"round": 1, "tasks": {"stay": {"mae": 1.0}}}, {"round": 2}]) is None
    assert rounds_to_99_percent([]) is None


def beside(result: dict[str, Any], *names: str) -> dict[str, Any]:
    """The result with baselines that are worse by a little more each; hospital by hospital by another amount."""
    result = deepcopy(result)
    result["baselines"] = {}
    for step, name in enumerate(names, start=1):
        tasks = {}
        for task, entry in result["tasks"].items():
            measure, sign = ("mae", 1) if entry["kind"] == "regression" else ("auroc", -1)
            mean, sites = dict(entry["per_site_mean"]), deepcopy(entry["per_site"])
            mean[measure] += sign * 0.004 * step
            for index, own in enumerate(sites.values()):
                own[measure] += sign * step * (0.012 * (index % 3) - 0.006)
            tasks[task] = {"per_site_mean": mean, "per_site": sites}
        result["baselines"][name] = {"description": f"about {name}", "parameters": 1, "seconds": 1.0, "tasks": tasks}
    return result


@pytest.fixture
def plain() -> dict[str, Any]:
    return json.loads(SAMPLE.read_text(encoding="utf-8"))


@pytest.fixture
def joined(plain: dict[str, Any]) -> dict[str, Any]:
    return beside(plain, "local", "pooled", "logistic_regression_local", "logistic_regression_pooled")


def values(text: str) -> list[float]:
    return [float(attributes["value"] or "") for tag, attributes in Parsed(text).tags if tag == "data"]


def test_the_table_holds_the_numbers_of_the_result_and_the_best_in_bold(joined: dict[str, Any]) -> None:
    table = page(joined).split('<table class="beside">')[1].split("</table>")[0]
    tasks, expected = joined["tasks"], []
    ordered = ["local", "logistic_regression_local", "pooled", "logistic_regression_pooled"]
    for of in [tasks, *(joined["baselines"][name]["tasks"] for name in ordered)]:
        measures = ["mae" if task["kind"] == "regression" else "auroc" for task in tasks.values()]
        row = [of[name]["per_site_mean"][measure] for name, measure in zip(tasks, measures, strict=True)]
        ranked = [value for value, measure in zip(row, measures, strict=True) if measure == "auroc"]
        expected += [*row, sum(ranked) / len(ranked)]
    assert values(table) == expected
    bold = [values(piece.split("</strong>")[0])[0] for piece in table.split("<strong>")[1:]]
    assert bold == expected[: len(tasks) + 1]  # the federation is made to be the best everywhere


def test_each_hospital_has_its_sentence_its_mean_and_every_number(joined: dict[str, Any]) -> None:
    text = page(joined)
    found = gains(joined)
    assert list(found) == list(joined["sites"])
    table, rest = text.split('<table class="results joining">')[1].split("</table>", 1)
    shown = "".join(Parsed(table).text)
    pairs = []
    for site, each in found.items():
        assert f"{site}: {verdict_words(each)}" in shown
        together, alone = mean_aurocs(each) or (0.0, 0.0)
        pairs += [alone, together]
    assert values(table) == pairs
    details = rest.split('<table class="beside">')[1].split("</table>")[0]
    assert values(details) == [
        value for each in found.values() for gain in each for value in (gain.together, gain.alone)
    ]
    local = joined["baselines"]["local"]["tasks"]
    for site, each in found.items():
        for gain in each:
            assert gain.together == joined["tasks"][gain.task]["per_site"][site][gain.measure]
            assert gain.alone == local[gain.task]["per_site"][site][gain.measure]


def test_only_tasks_count_where_the_hospital_counts(joined: dict[str, Any]) -> None:
    first, second, third = list(joined["tasks"])[:3]
    joined["tasks"][first]["per_site"]["north"]["counted"] = False
    del joined["baselines"]["local"]["tasks"][second]["per_site"]["north"]
    del joined["baselines"]["local"]["tasks"][third]
    found = gains(joined)
    assert {first, second, third}.isdisjoint(gain.task for gain in found["north"])
    assert third not in {gain.task for gain in found["south"]} and first in {gain.task for gain in found["south"]}
    for task in joined["tasks"].values():
        task["per_site"].pop("west")
    assert gains(joined)["west"] == []
    assert "west: no task has enough patients" in "".join(Parsed(page(joined)).text)


@pytest.mark.parametrize("count", [1, 2, 18])
def test_any_number_of_hospitals(count: int, plain: dict[str, Any]) -> None:
    names = [f"hospital {index}" for index in range(count)]
    text = page(beside(widened(plain, sites=names, tasks=9), "local", "pooled"))
    shown = "".join(Parsed(text.split('class="results joining"')[1].split("</table>")[0]).text)
    assert all(f"{name}: " in shown for name in names)


def test_missing_pieces_leave_out_what_needs_them(plain: dict[str, Any], joined: dict[str, Any]) -> None:
    assert "worth joining" not in page(plain)
    assert page(plain | {"baselines": {}}) == page(plain)
    for damaged in (beside(plain, "pooled"), joined | {"sites": {}}):
        for task in damaged["tasks"].values():
            task["per_site"] = {}
        text = page(damaged | {"sites": {}})
        assert "worth joining" in text and "results joining" not in text
    for name in ("local", "pooled"):
        joined["baselines"][name] = {}
    joined["baselines"]["svm_pooled"] = None
    joined["baselines"]["of_tomorrow"] = {"tasks": {next(iter(joined["tasks"])): {"per_site_mean": {"auroc": 0.5}}}}
    assert "Of tomorrow" in page(joined)


def test_names_and_descriptions_are_escaped(plain: dict[str, Any]) -> None:
    evil = '<img src=x onerror="alert(1)">'
    result = widened(plain, sites=[evil, "south"], tasks=2)
    result["tasks"] = {f"{evil}{index}": task for index, task in enumerate(result["tasks"].values())}
    result = beside(result, "local", evil)
    result["baselines"][evil]["description"] = f'" {evil}'
    text = page(result)
    assert "<img" not in text.split('<script type="application/json"')[0]
    assert all(tag != "img" for tag, _ in Parsed(text).tags)


def test_the_card_says_after_how_many_rounds(plain: dict[str, Any]) -> None:
    assert "of the final AUROC" not in page(plain)
    assert "99\u00a0% of the final AUROC after\u00a06" in page(plain | {"rounds_to_99_percent": 6})
