"""What joining changed, hospital by hospital: a sentence and a strip for each, then every number."""

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any

from server.dashboard.joining import Gain, gains, mean_aurocs, verdict_words
from server.dashboard.markup import Markup, el
from server.dashboard.methods import task_head
from server.dashboard.scores import Score
from server.dashboard.wording import DASH, fraction

_MIDDLE = 13


def hospitals(result: Mapping[str, Any], scores: Mapping[str, Score]) -> list[Markup]:
    """The part of the chapter about single hospitals; empty where nothing is known of them."""
    found = gains(result)
    if not found:
        return []
    means = {site: mean_aurocs(each) for site, each in found.items()}
    known = [value for pair in means.values() if pair for value in pair]
    low, high = (floor(10 * min(known)) / 10, ceil(10 * max(known)) / 10) if known else (0.0, 1.0)
    scale = el("span", el("span", f"{low:.1f}"), el("span", "AUROC"), el("span", f"{high:.1f}"), class_="scale")
    head = [el("th", "Hospital"), el("th", scale), el("th", "Alone", class_="n"), el("th", "Joined", class_="n")]
    rows = [
        el(
            "tr",
            el("th", el("b", site), f": {verdict_words(each)}", scope="row"),
            el("td", _strip(means[site], low, high), class_="strip-cell"),
            *(_site_value(means[site], index, label) for index, label in ((1, "Alone"), (0, "Joined"))),
        )
        for site, each in found.items()
    ]
    words = "The federation against the same network trained on a hospital's own patients only, on the tasks where the "
    words += "hospital has enough patients to count. The numbers are its mean AUROC over these tasks."
    return [
        el("h3", "For each hospital", class_="gap"),
        el("p", words, class_="text"),
        el("table", el("thead", el("tr", *head)), el("tbody", *rows), class_="results joining"),
        _legend(),
        _every_number(found, scores),
    ]


def _site_value(pair: tuple[float, float] | None, index: int, label: str) -> Markup:
    shown = el("data", fraction(pair[index]), value=repr(pair[index])) if pair else DASH
    return el("td", shown, class_="n", data_label=label)


def _strip(pair: tuple[float, float] | None, low: float, high: float) -> Markup | None:
    if pair is None:
        return None

    def at(value: float) -> str:
        return f"{2 + 96 * (value - low) / ((high - low) or 1):.2f}%"

    together, alone = pair
    marks = (
        el("line", x1="2%", x2="98%", y1=_MIDDLE, y2=_MIDDLE, class_="axis"),
        el("line", x1=at(alone), x2=at(together), y1=_MIDDLE, y2=_MIDDLE, class_="gain"),
        el("circle", cx=at(together), cy=_MIDDLE, r=4.5, class_="ours"),
        el("circle", cx=at(alone), cy=_MIDDLE, r=5, class_="pooled"),
    )
    words = f"AUROC: alone {fraction(alone)}, with the federation {fraction(together)}"
    return el("svg", *marks, class_="strip", role="img", aria_label=words, height=2 * _MIDDLE)


def _legend() -> Markup:
    entries = (
        (el("circle", cx=9, cy=9, r=5, class_="pooled"), "alone"),
        (el("circle", cx=9, cy=9, r=4.5, class_="ours"), "with the federation"),
    )
    marks = (el("span", el("svg", mark, width=18, height=18, aria_hidden="true"), words) for mark, words in entries)
    return el("p", *marks, class_="legend")


def _every_number(found: Mapping[str, Sequence[Gain]], scores: Mapping[str, Score]) -> Markup | None:
    """Hospitals by tasks: the federation's score, and below it the one alone."""
    tasks = [name for name in scores if any(gain.task == name for each in found.values() for gain in each)]
    if not tasks:
        return None

    def cell(gain: Gain | None) -> Markup:
        if gain is None:
            return el("td", DASH, class_="n")
        text = scores[gain.task].text
        ours, alone = (el("data", text(value), value=repr(value)) for value in (gain.together, gain.alone))
        verdict = {1: "helped", -1: "alone"}.get(gain.verdict)
        return el("td", el("span", ours, class_=verdict), el("small", alone, " alone"), class_="n")

    rows = []
    for site, each in found.items():
        by_task = {gain.task: gain for gain in each}
        rows.append(el("tr", el("th", site, scope="row"), *(cell(by_task.get(name)) for name in tasks)))
    head = [el("th", "Hospital"), *(task_head(name, scores[name]) for name in tasks)]
    table = el("table", el("thead", el("tr", *head)), el("tbody", *rows), class_="beside")
    note = "Blue: joining helped. Orange: better alone. Plain: too small a difference to say. "
    note += "A dash: the hospital does not count for this task."
    return el(
        "details",
        el("summary", "Every hospital and task in numbers"),
        el("div", table, el("p", note, class_="note"), class_="scroll"),
    )
