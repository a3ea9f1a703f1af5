"""Figures of one task, each a plotly dictionary, or None where the result holds nothing to draw."""

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Any

from server.dashboard.plot import ROW_PX, Figure, figure, level, note, rounds_axis, rows_axis, text
from server.dashboard.scores import Score, mapping, score_of
from server.dashboard.wording import count, number

_HEIGHT_PX = 280


def learning_curve(history: Sequence[Mapping[str, Any]], name: str, task: Mapping[str, Any]) -> Figure | None:
    """The validation score of the model received in each round, and the best possible score as a dashed line.

    None where a single round has a score: that is no curve.
    """
    score = score_of(task)
    points = [
        (int(entry["round"]), value)
        for entry in history
        if (value := number(mapping(mapping(entry, "tasks"), name).get(score.measure))) is not None
    ]
    if len(points) < 2:
        return None
    rounds, values = [point[0] for point in points], [point[1] for point in points]
    low, high = min([*values, *_known(score.best)]), max([*values, *_known(score.best)])
    pad = max(0.12 * (high - low), 0.01 * abs(high), 1e-9)
    final = values[-1]
    under_line = score.best is not None and final <= score.best
    data = [
        {
            "x": rounds,
            "y": values,
            "mode": "lines+markers" if len(points) < 8 else "lines",
            "line": {"color": "--accent", "width": 2.5},
            "hovertemplate": f"round %{{x}}: {score.name} %{{text}}<extra></extra>",
            "text": [text(score.text(value)) for value in values],
        },
        {
            "x": rounds[-1:],
            "y": [final],
            "mode": "markers",
            "marker": {"color": "--accent", "size": 8},
            "hoverinfo": "skip",
        },
    ]
    end = "top" if under_line else "bottom"
    notes = [
        note(
            f"<b>{text(score.text(final))}</b>",
            color="--accent",
            x=rounds[-1],
            y=final,
            xanchor="right",
            yanchor=end,
            yshift=-7 if under_line else 7,
        )
    ]
    if score.best is not None:
        best = f"best possible {text(score.text(score.best))}"
        place = {"xref": "paper", "x": 0, "xanchor": "left", "y": score.best}
        upwards = score.measure == "auroc"
        notes.append(
            note(best, color="--warm", **place, yanchor="bottom" if upwards else "top", yshift=2 if upwards else -2)
        )
    return figure(
        data,
        height=_HEIGHT_PX,
        x=rounds_axis(rounds),
        y={"title": _axis_title(score), "range": [low - pad, high + 1.4 * pad], "nticks": 6},
        shapes=[level(score.best, vertical=False, color="--warm")] if score.best is not None else [],
        annotations=notes,
    )


def site_scores(task: Mapping[str, Any]) -> Figure | None:
    """One bar per site, from chance (0.5) for AUROC and from 0 for an error, with a line at the per-site mean."""
    score = score_of(task)
    shown = [
        (name, entry, value)
        for name, entry in mapping(task, "per_site").items()
        if (value := number(entry.get(score.measure))) is not None
    ]
    if not shown:
        return None
    base = 0.5 if score.measure == "auroc" else 0.0
    values = [value for _, _, value in shown]
    widest = max([*values, *_known(score.per_site_mean)])
    low = min(base, *values)
    counted = [entry.get("counted", True) for _, entry, _ in shown]
    bars = {
        "type": "bar",
        "orientation": "h",
        "base": base,
        "x": [value - base for value in values],
        "y": list(range(len(shown))),
        "width": 0.66,
        "marker": {"color": ["--accent" if each else "--faint" for each in counted]},
        "customdata": [[_site_hover(name, entry), text(score.text(value))] for name, entry, value in shown],
        "hovertemplate": f"%{{customdata[0]}}<br>{score.name} %{{customdata[1]}}<extra></extra>",
    }
    end = min(1.0, ceil(10 * widest + 1e-9) / 10) if score.measure == "auroc" else 1.05 * widest or 1.0
    mean = score.per_site_mean
    # The figures stand in a column of their own at the right, where no bar can run into them.
    labels = [text(score.text(value)) for value in values]
    column = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 8}
    notes = [note(label, color="--ink", y=row, **column) for row, label in enumerate(labels)]
    if mean is not None:
        side = "right" if mean > (low + end) / 2 else "left"
        place = {"x": mean, "xanchor": side, "yref": "paper", "y": 1, "yanchor": "bottom"}
        notes.append(note(f"per-site mean {text(score.text(mean))}", color="--warm", **place))
    tenths = (
        {"tickvals": [tick / 10 for tick in range(11) if tick / 10 <= end]}
        if score.measure == "auroc"
        else {"nticks": 6}
    )
    return figure(
        [bars],
        height=80 + len(shown) * (44 if len(shown) < 5 else ROW_PX),
        x={"title": _axis_title(score), "range": [low - (0.02 if low < base else 0), end], **tenths},
        y=rows_axis([name for name, _, _ in shown]),
        margin={"l": 44, "r": 18 + 7 * max(map(len, labels)), "t": 30, "b": 40},
        shapes=[level(value, vertical=True, color="--warm", dash="dot") for value in _known(mean)],
        annotations=notes,
    )


def reliability(task: Mapping[str, Any]) -> Figure | None:
    """Observed against predicted risk by group; on the diagonal, predictions can be taken at their word."""
    groups = [
        (predicted, observed, number(group.get("n")) or 0.0)
        for group in mapping(task, "calibration").get("groups") or []
        if (predicted := number(group.get("predicted"))) is not None
        and (observed := number(group.get("observed"))) is not None
    ]
    if not groups:
        return None
    groups.sort()
    most = max(n for _, _, n in groups) or 1.0
    top = min(1.0, 1.08 * max(max(predicted, observed) for predicted, observed, _ in groups)) or 1.0
    diagonal = {"x": [0, top], "y": [0, top], "mode": "lines", "line": {"color": "--faint", "width": 1.5}}
    curve = {
        "x": [group[0] for group in groups],
        "y": [group[1] for group in groups],
        "mode": "lines+markers",
        "line": {"color": "--accent", "width": 2},
        "marker": {"color": "--accent", "size": [5 + 6 * sqrt(n / most) for _, _, n in groups]},
        "text": [count(n) for _, _, n in groups],
        "hovertemplate": "predicted %{x:.1%}, observed %{y:.1%}<br>%{text} rows<extra></extra>",
        "cliponaxis": False,
    }
    ticks = {"tickformat": ".0%", "range": [-0.02 * top, 1.03 * top], "nticks": 6}
    return figure(
        [{**diagonal, "hoverinfo": "skip"}, curve],
        height=_HEIGHT_PX,
        x={"title": "Predicted risk", **ticks},
        y={"title": "Observed", **ticks},
    )


def _axis_title(score: Score) -> str:
    return f"{score.name}, {text(score.unit)}" if score.unit else score.name


def _known(value: float | None) -> list[float]:
    return [] if value is None else [value]


def _site_hover(name: str, entry: Mapping[str, Any]) -> str:
    parts = [f"<b>{text(name)}</b>", f"{count(entry.get('n'))} test rows"]
    if "train_n" in entry:
        parts.append(f"{count(entry['train_n'])} training rows")
    if not entry.get("counted", True):
        parts.append("not counted in the mean")
    return "<br>".join(parts)
