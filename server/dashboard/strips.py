"""The score strip of a task: each site as a dot, the per-site mean, the pooled value and the best possible, to scale.

Drawn as SVG with places in percent, so that it fills any width without being distorted and prints sharply.
"""

from collections.abc import Mapping
from math import floor
from typing import Any

from server.dashboard.markup import Markup, el
from server.dashboard.scores import mapping, score_of
from server.dashboard.wording import number

_MIDDLE = 13


def auroc_floor(tasks: Mapping[str, Mapping[str, Any]]) -> float:
    """Where the AUROC strips of a page begin: at chance (0.5), or lower if any value is."""
    values = [0.5]
    for task in tasks.values():
        if score_of(task).measure == "auroc":
            values += [value for value in _all_values(task) if value is not None]
    return floor(10 * min(values) + 1e-9) / 10


def strip(task: Mapping[str, Any], *, low: float) -> Markup | None:
    """The strip of one task, or None if it has no score; errors have a scale of their own that begins at 0."""
    score = score_of(task)
    known = [value for value in _all_values(task) if value is not None]
    if not known:
        return None
    start, end = (low, 1.0) if score.measure == "auroc" else (0.0, 1.1 * max(known) or 1.0)

    def at(value: float) -> str:
        return f"{2 + 96 * (value - start) / (end - start):.2f}%"

    marks: list[Markup] = []
    for value in _site_values(task):
        if value is not None:
            marks.append(el("circle", cx=at(value), cy=_MIDDLE, r=3.5, class_="site"))
    if score.best is not None:
        marks.append(el("line", x1=at(score.best), x2=at(score.best), y1=3, y2=23, class_="best"))
    if score.pooled is not None:
        marks.append(el("circle", cx=at(score.pooled), cy=_MIDDLE, r=5, class_="pooled"))
    if score.per_site_mean is not None:
        marks.append(el("line", x1=at(score.per_site_mean), x2=at(score.per_site_mean), y1=5, y2=21, class_="mean"))
    words = [
        f"{label} {score.text(value)}"
        for label, value in (
            ("per-site mean", score.per_site_mean),
            ("pooled", score.pooled),
            ("best possible", score.best),
        )
        if value is not None
    ]
    axis = el("line", x1="2%", x2="98%", y1=_MIDDLE, y2=_MIDDLE, class_="axis")
    return el(
        "svg", axis, *marks, class_="strip", role="img", aria_label=f"{score.name}: {', '.join(words)}", height=26
    )


def legend(*, sites: bool, best: bool, scale: str) -> Markup:
    """What the marks of a strip mean, only the ones that occur, and what the strips span."""
    entries = [
        (el("circle", cx=9, cy=9, r=3.5, class_="site"), "one hospital") if sites else None,
        (el("line", x1=9, x2=9, y1=1, y2=17, class_="mean"), "mean over hospitals"),
        (el("circle", cx=9, cy=9, r=5, class_="pooled"), "all patients pooled"),
        (el("line", x1=9, x2=9, y1=1, y2=17, class_="best"), "best possible") if best else None,
    ]
    return el(
        "p",
        *(
            el("span", el("svg", mark, width=18, height=18, aria_hidden="true"), words)
            for mark, words in filter(None, entries)
        ),
        el("span", scale),
        class_="legend",
    )


def _site_values(task: Mapping[str, Any]) -> list[float | None]:
    measure = score_of(task).measure
    return [number(entry.get(measure)) for entry in mapping(task, "per_site").values()]


def _all_values(task: Mapping[str, Any]) -> list[float | None]:
    score = score_of(task)
    return [*_site_values(task), score.per_site_mean, score.pooled, score.best]
