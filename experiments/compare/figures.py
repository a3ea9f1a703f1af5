"""Differences as dots with their intervals, one row each, with a line at no difference."""

from collections.abc import Mapping
from typing import Any

from server.dashboard.plot import ROW_PX, Figure, figure, level, rows_axis, text
from server.dashboard.scores import NAMES
from server.dashboard.wording import shorten

_LONGEST = 32  # characters of a row's name: names of baselines differ at their ends
Differences = Mapping[str, Mapping[str, Any]]


def forest(rows: Differences, *, measure: str, unit: str = "", strong: int = 0) -> Figure | None:
    """One row per entry of `rows` (name -> mean and, over several seeds, low and high); the first `strong` stand out.

    measure: what differs, "auroc" or "mae"; unit: of an error, "" or "1" for none.
    """
    if not rows:
        return None
    places = list(range(len(rows)))
    means = [row["mean"] for row in rows.values()]
    below = [row["mean"] - row.get("low", row["mean"]) for row in rows.values()]
    above = [row.get("high", row["mean"]) - row["mean"] for row in rows.values()]
    colours = ["--ink" if place < strong else "--accent" for place in places]
    dots = [
        {
            "x": [mean],
            "y": [place],
            "mode": "markers",
            "marker": {"color": colour, "size": 9, "symbol": "diamond" if place < strong else "circle"},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [high],
                "arrayminus": [low],
                "color": colour,
                "thickness": 1.6,
                "width": 3,
            },
            "text": [_hover(name, row)],
            "hovertemplate": "%{text}<extra></extra>",
        }
        for place, mean, low, high, colour, (name, row) in zip(
            places, means, below, above, colours, rows.items(), strict=True
        )
    ]
    ends = [
        0.0,
        *(m - b for m, b in zip(means, below, strict=True)),
        *(m + a for m, a in zip(means, above, strict=True)),
    ]
    pad = 0.06 * (max(ends) - min(ends)) or 0.01
    title = f"Difference in {NAMES[measure]}" + (f", {text(unit)}" if unit not in ("", "1") else "")
    return figure(
        dots,
        height=80 + ROW_PX * max(2, len(rows)),
        x={"title": title, "range": [min(ends) - pad, max(ends) + pad], "nticks": 7},
        y=rows_axis(list(rows)) | {"ticktext": [text(shorten(name, _LONGEST)) for name in rows]},
        shapes=[level(0.0, vertical=True, color="--warm", dash="dot")],
    )


def spoken(row: Mapping[str, Any]) -> str:
    """ "+0.012 [-0.003, +0.027]": the mean with its interval, where there is one."""
    words = f"{row['mean']:+.3f}"
    return f"{words} [{row['low']:+.3f}, {row['high']:+.3f}]" if "low" in row else words


def _hover(name: str, row: Mapping[str, Any]) -> str:
    return f"<b>{text(name)}</b><br>{spoken(row)}<br>{row['n']} seed{'s' if row['n'] != 1 else ''}"
