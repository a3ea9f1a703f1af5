"""What every figure shares: plain plotly dictionaries whose colours are names that the page looks up.

A colour is a CSS variable such as "--accent"; page.js replaces it, so one figure serves light, dark and print.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from server.dashboard.wording import shorten

Figure = dict[str, Any]
Trace = dict[str, Any]

ROW_PX = 20


def text(name: object) -> str:
    """`name` for plotly, which reads a small HTML of its own in labels: escaped, so that it stays text."""
    return escape(str(name), quote=False)


def figure(data: Sequence[Trace], *, height: int, x: Figure, y: Figure, **layout: Any) -> Figure:
    """A plotly figure in the page's style; `layout` overrides any part of it."""
    base: Figure = {
        "height": height,
        "margin": {"l": 44, "r": 14, "t": 12, "b": 40},
        "showlegend": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12, "color": "--muted"},
        "hoverlabel": {"bgcolor": "--card", "bordercolor": "--rule", "font": {"color": "--ink", "size": 12}},
        "dragmode": False,
        "xaxis": axis(**x),
        "yaxis": axis(**y),
    }
    return {"data": list(data), "layout": base | layout}


def axis(title: str | None = None, **options: Any) -> Figure:
    """A quiet axis: thin grid, no zero line, no zoom; room for its labels is made as needed."""
    base: Figure = {
        "gridcolor": "--rule",
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        "tickcolor": "--rule",
        "title": {"text": title, "standoff": 8, "font": {"size": 12, "color": "--muted"}} if title else None,
    }
    return base | options


def rows_axis(names: Sequence[str]) -> Figure:
    """A vertical axis with one row per name, the first on top.

    Rows are numbers with names as tick texts, so that equal shortened names or names like "2020" stay apart.
    """
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": [text(shorten(name)) for name in names],
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
        "ticklen": 4,
        "tickcolor": "rgba(0,0,0,0)",
    }


def rounds_axis(rounds: Sequence[int]) -> Figure:
    """A horizontal axis of whole rounds, with some air at both ends."""
    first, last = min(rounds), max(rounds)
    pad = max(0.4, 0.03 * (last - first))
    step = next((size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500) if (last - first) / size <= 7), 1000)
    return {"title": "Round", "range": [first - pad, last + pad], "showgrid": False, "dtick": step, "tick0": 0}


def level(value: float, *, vertical: bool, color: str, dash: str = "dash") -> Figure:
    """A line across the whole figure at `value`: vertical on the x axis, otherwise horizontal on the y axis."""
    ends = (
        {"x0": value, "x1": value, "y0": 0, "y1": 1, "yref": "paper"}
        if vertical
        else {"y0": value, "y1": value, "x0": 0, "x1": 1, "xref": "paper"}
    )
    return {"type": "line", "line": {"color": color, "width": 1.5, "dash": dash}, **ends}


def note(words: str, *, color: str, **place: Any) -> Figure:
    """A short text beside a line, without an arrow."""
    return {"text": words, "showarrow": False, "font": {"size": 12, "color": color}, **place}
