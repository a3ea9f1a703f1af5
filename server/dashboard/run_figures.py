"""Figures of the whole run: update norms, missing values and sites that failed; None where there is nothing to draw."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from server.dashboard.plot import ROW_PX, Figure, Trace, figure, level, note, rounds_axis, rows_axis, text
from server.dashboard.scores import history_of, mapping
from server.dashboard.wording import number, percent, shorten

MOST_FEATURES = 60
_LEGEND = {
    "orientation": "h",
    "x": 0,
    "y": 1,
    "yref": "container",
    "yanchor": "top",
    "font": {"size": 12, "color": "--muted"},
}


def norms_by_round(result: Mapping[str, Any]) -> Figure | None:
    """The mean update norm of each round before and after clipping; each site before clipping as a thin line."""
    lines: list[Trace] = [
        {
            "x": [point["round"] for point in points],
            "y": [point["before"] for point in points],
            "mode": "lines",
            "line": {"color": "--faint", "width": 1},
            "name": text(shorten(name)),
            "showlegend": False,
            "hovertemplate": f"{text(name)}, before: %{{y:.3f}}<extra></extra>",
        }
        for name, points in _site_norms(result).items()
    ]
    means = 0
    for key, label, color in (
        ("norm_before_clip", "before clipping", "--ink"),
        ("norm_after_clip", "after clipping", "--accent"),
    ):
        points = [(entry["round"], entry[key]) for entry in history_of(result) if number(entry.get(key)) is not None]
        if points:
            means += 1
            lines.append(
                {
                    "x": [point[0] for point in points],
                    "y": [point[1] for point in points],
                    "mode": "lines+markers" if len(points) < 3 else "lines",
                    "line": {"color": color, "width": 2.5, "dash": "dot" if color == "--ink" else "solid"},
                    "name": f"mean {label}",
                    "hovertemplate": f"round %{{x}}: mean {label} %{{y:.3f}}<extra></extra>",
                }
            )
    if not lines:
        return None
    clip = number(result.get("clip_norm"))
    top = max([value for line in lines for value in line["y"]] + ([clip] if clip else []))
    return figure(
        lines,
        height=300,
        x=rounds_axis([each for line in lines for each in line["x"]]),
        y={"title": "Update norm (L2)", "range": [0, 1.12 * top or 1.0], "nticks": 6},
        showlegend=means > 0,
        legend=_LEGEND,
        margin={"l": 44, "r": 14, "t": 40, "b": 40},
        **_clip_line(clip, vertical=False),
    )


def norms_by_site(result: Mapping[str, Any]) -> Figure | None:
    """Each site's median update norm before and after clipping, over the range it had before."""
    norms = _site_norms(result)
    if not norms:
        return None
    names, clip = list(norms), number(result.get("clip_norm"))
    before = [sorted(point["before"] for point in norms[name]) for name in names]
    after = [median(point["after"] for point in norms[name]) for name in names]
    rows = list(range(len(names)))
    spans = {
        "type": "bar",
        "orientation": "h",
        "base": [values[0] for values in before],
        "x": [values[-1] - values[0] for values in before],
        "y": rows,
        "width": 0.28,
        "marker": {"color": "--faint"},
        "name": "before, range",
        "hoverinfo": "skip",
    }
    dots = [
        {
            "x": values,
            "y": rows,
            "mode": "markers",
            "marker": {"color": color, "size": 9, "symbol": symbol, "line": {"width": 2, "color": color}},
            "name": label,
            "text": [text(name) for name in names],
            "hovertemplate": f"%{{text}}: median {label} %{{x:.3f}}<extra></extra>",
        }
        for label, color, symbol, values in (
            ("before", "--ink", "circle-open", [median(values) for values in before]),
            ("after", "--accent", "circle", after),
        )
    ]
    top = max([values[-1] for values in before] + ([clip] if clip else []))
    return figure(
        [spans, *dots],
        height=max(300, ROW_PX * len(names) + 90),
        x={"title": "Update norm (L2)", "range": [0, 1.08 * top or 1.0], "nticks": 6},
        y=rows_axis(names),
        showlegend=True,
        legend=_LEGEND,
        margin={"l": 44, "r": 14, "t": 54, "b": 40},
        **_clip_line(clip, vertical=True),
    )


def missing_values(result: Mapping[str, Any]) -> Figure | None:
    """The missing fraction of each feature, pooled and at each site; the emptiest features on top."""
    pooled = mapping(result, "missing")
    columns = {name: mapping(site, "missing") for name, site in mapping(result, "sites").items()}
    columns = {name: column for name, column in columns.items() if column}
    if pooled:
        columns = {"all": pooled, **columns}
    worst: dict[str, float] = {}
    for column in columns.values():
        for feature, value in column.items():
            worst[feature] = max(worst.get(feature, 0.0), number(value) or 0.0)
    if not worst:
        return None
    features = sorted(worst, key=lambda feature: (-(number(pooled.get(feature)) or worst[feature]), feature))[
        :MOST_FEATURES
    ]
    cells = [[number(column.get(feature)) for column in columns.values()] for feature in features]
    few = len(columns) <= 7
    heat = {
        "type": "heatmap",
        "z": cells,
        "x": list(range(len(columns))),
        "y": list(range(len(features))),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "--heat-low"], [1, "--heat-high"]],
        "xgap": 2,
        "ygap": 2,
        "text": [["" if cell is None else percent(cell) for cell in row] for row in cells],
        "texttemplate": "%{text}" if few else "",
        "textfont": {"color": "--ink"},
        "customdata": [[f"{text(feature)}, {text(name)}" for name in columns] for feature in features],
        "hovertemplate": "%{customdata}: %{text} missing<extra></extra>",
        "hoverongaps": False,
        "showscale": not few,
        "colorbar": {
            "thickness": 10,
            "outlinewidth": 0,
            "tickformat": ".0%",
            "tickfont": {"color": "--muted"},
            "nticks": 5,
        },
    }
    return figure(
        [heat],
        height=26 * len(features) + (60 if few else 110),
        x={
            "tickmode": "array",
            "tickvals": list(range(len(columns))),
            "ticktext": [text(shorten(name, 14)) for name in columns],
            "side": "top",
            "showgrid": False,
            "tickangle": 0 if few else -60,
            "range": [-0.5, len(columns) - 0.5],
        },
        y=rows_axis(features) | {"range": [len(features) - 0.5, -0.5]},
        margin={"l": 60, "r": 10, "t": 40, "b": 10},
    )


def failures(result: Mapping[str, Any]) -> Figure | None:
    """A cross for each round in which a site failed."""
    crosses = [
        (name, entry["round"], code) for entry in history_of(result) for name, code in mapping(entry, "failed").items()
    ]
    if not crosses:
        return None
    names = list(dict.fromkeys(name for name, _, _ in crosses))
    marks = {
        "x": [each for _, each, _ in crosses],
        "y": [names.index(name) for name, _, _ in crosses],
        "mode": "markers",
        "marker": {"symbol": "x", "size": 9, "color": "--warm"},
        "text": [f"{text(name)}: {text(code)}" for name, _, code in crosses],
        "hovertemplate": "round %{x}, %{text}<extra></extra>",
    }
    rounds = [entry["round"] for entry in history_of(result)]
    return figure([marks], height=30 * len(names) + 70, x=rounds_axis(rounds), y=rows_axis(names))


def _site_norms(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    complete = {
        name: [
            point
            for point in mapping(result, "sites")[name].get("norms") or []
            if number(point.get("before")) is not None and number(point.get("after")) is not None
        ]
        for name in mapping(result, "sites")
    }
    return {name: points for name, points in complete.items() if points}


def _clip_line(clip: float | None, *, vertical: bool) -> Figure:
    if clip is None:
        return {}
    words = f"clip norm {clip:g}"
    place = (
        {"x": clip, "yref": "paper", "y": 1, "yanchor": "bottom"}
        if vertical
        else {"y": clip, "xref": "paper", "x": 0, "xanchor": "left", "yanchor": "top", "yshift": -2}
    )
    return {
        "shapes": [level(clip, vertical=vertical, color="--warm")],
        "annotations": [note(words, color="--warm", **place)],
    }
