"""What a person reads: the words of a difference, and a page on which nothing is left unsaid or unescaped."""

from typing import Any

import pytest

from client.benefit.page import benefit_page
from client.benefit.words import figure, interval, sentences, verdict


def _gain(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def _task(gain: dict[str, float] | None, *, why: str = "", kind: str = "binary", unit: str = "1") -> dict[str, Any]:
    joining = {"verdict": verdict(gain)} | ({"why": why} if gain is None else {"gain": gain})
    return {"kind": kind, "unit": unit, "joining": joining}


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.01, 0.07, "helped"), (-0.07, -0.01, "hurt"), (-0.01, 0.07, "no difference"), (0.0, 0.07, "no difference")],
)
def test_the_interval_decides_the_word(low: float, high: float, word: str) -> None:
    assert verdict(_gain((low + high) / 2, low, high)) == word
    assert verdict(None) == "cannot be said"


def test_words_are_those_that_were_asked_for() -> None:
    told = sentences(
        {
            "sepsis": _task(_gain(0.04, 0.01, 0.07)),
            "diabetes": _task(_gain(0.004, -0.02, 0.03)),
            "stay": _task(_gain(1.25, 0.5, 12.34), kind="regression", unit="d"),
            "death": _task(_gain(-0.05, -0.09, -0.01)),
            "gout": _task(None, why="of the test rows, 4 of 70 rows are outside the largest class"),
        }
    )
    assert told == [
        "Joining helped sepsis by .04 [.01, .07]; and stay by 1.25 [.50, 12.3] d (mean absolute error).",
        "Joining hurt death by .05 [.01, .09].",
        "It made no difference that can be shown for diabetes .00 [-.02, .03] (one below .03 would not be seen).",
        "Whether joining helped gout cannot be said: of the test rows, 4 of 70 rows are outside the largest class.",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.041, ".04"),
        (-0.129, "-.13"),
        (0.0, ".00"),
        (-0.004, ".00"),
        (-0.006, "-.01"),
        (1.5, "1.50"),
        (-123.4, "-123"),
    ],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert figure(value) == text
    assert figure(value, sign=True) == (text if text.startswith("-") else f"+{text}")
    assert interval(_gain(value, value, value)).endswith(f" [{text}, {text}]")


def test_a_page_escapes_what_it_is_given_and_loads_nothing() -> None:
    nothing = {"share": 0.0, "reasons": {}}
    entry = _task(_gain(0.04, 0.01, 0.07)) | {"measure": "AUROC", "test_rows": 70, "models": {}, "subgroups": {}}
    entry |= {"choice": {"model": "local", "why": "a < b"}, "calibration": {"kind": "none", "why": "<few>"}}
    entry |= {"conformal": {}, "cannot_say": nothing}
    report = {"federation": "x", "site": "<north>", "words": ["<i>helped</i>"], "notes": [], "tasks": {"<task>": entry}}
    page = benefit_page(report)
    for raw in ("<north>", "<i>", "<task>", "<few>"):
        assert raw not in page and raw.replace("<", "&lt;").replace(">", "&gt;") in page
    assert "<script" not in page and "src=" not in page and "default-src 'none'" in page
    assert "<circle" in page


def test_a_page_of_a_task_without_test_rows_claims_no_share() -> None:
    entry = _task(None, why="of the test rows, none has a label") | {"measure": "AUROC", "test_rows": 0, "models": {}}
    entry |= {"choice": {"model": "federated", "why": "few"}, "calibration": {"kind": "none", "why": "few"}}
    entry |= {"subgroups": {}, "conformal": {}, "cannot_say": {"reasons": {}}}
    report = {"federation": "x", "site": "north", "words": [], "notes": [], "tasks": {"death": entry}}
    page = benefit_page(report)
    assert "<td>-</td>" in page and "0%" not in page.split("How sure")[1]
