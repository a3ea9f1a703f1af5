"""The ledger as one HTML page: what was spent of each budget, and a chart of it over time."""

import json

from plotly.offline import get_plotlyjs

from client.ledger.account import Account
from client.ledger.markup import page, paragraph, table
from client.ledger.text import bound, rounds_words, unnoised_words
from client.policy.rules import KINDS_IN_WORDS

_COLUMNS = ("Account", "With noise", "Limit", "Left", "Without noise", "In one line")
_FAR = 4.0  # a limit that is so many times as high as the highest point is only named: the course would be flat
_DRAW = """
const figure = JSON.parse(document.getElementById("figure").textContent);
Plotly.newPlot("chart", figure.data, figure.layout, {displayModeBar: false, responsive: true});
"""


def ledger_page(
    site: str,
    studies: list[Account],
    years: list[Account],
    by_study: dict[str, list[tuple[str, float]]],
    *,
    delta: float,
    state: str,
) -> str:
    """The whole page. by_study: (time, epsilon) after releases with noise. state: what the check of the ledger said."""
    figure = json.dumps(_figure(studies, by_study, delta=delta), allow_nan=False).replace("<", "\\u003c")
    plotly = get_plotlyjs().replace("\r\n", "\n")
    return page(
        f"Privacy ledger of {site}",
        paragraph(state, "state"),
        paragraph(
            "Epsilon bounds what the releases with noise, all together, can tell about any one patient: no outcome of "
            "theirs is more than e^epsilon times as likely because this patient's rows are in the data (2.7 times at "
            f"epsilon 1, 55 times at epsilon 4), up to a probability of delta, here {delta:g}. Smaller is better."
        ),
        paragraph(
            "What left without noise has no epsilon: it is counted beside it. Where it is more than the declared "
            "weights (levels), there is no overall epsilon."
        ),
        table(_COLUMNS, [_row(kind, one) for kind, group in (("study", studies), ("year", years)) for one in group]),
        *_kinds([*studies, *years]),
        '<div id="chart" class="chart" role="img" aria-label="Epsilon of each study over time"></div>',
        f'<script type="application/json" id="figure">{figure}</script>',
        scripts=(plotly, _DRAW),
    )


def _kinds(accounts: list[Account]) -> list[str]:
    """What the kinds of release without noise are, of those that there are."""
    found = {kind for one in accounts for kind in one.unnoised}
    told = [f"{kind} ({words})" for kind, words in KINDS_IN_WORDS.items() if kind in found]
    return [paragraph(f"Kinds without noise: {', '.join(told)}.")] if told else []


def _row(kind: str, account: Account) -> tuple[str, ...]:
    limit = "none" if account.limit is None else f"epsilon {bound(account.limit)}"
    return (
        f"{kind} {account.name}",
        f"epsilon {account.epsilon:.3g}",
        limit,
        rounds_words(account),
        unnoised_words(account),
        account.headline,
    )


def _figure(studies: list[Account], by_study: dict[str, list[tuple[str, float]]], *, delta: float) -> dict[str, object]:
    lines = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "line": {"shape": "hv"},
            "name": _text(name),
            "x": [time for time, _ in points],
            "y": [epsilon if epsilon < 1e9 else None for _, epsilon in points],
        }
        for name, points in by_study.items()
    ]
    highest = max((epsilon for points in by_study.values() for _, epsilon in points if epsilon < 1e9), default=0.0)
    limits = sorted({one.limit for one in studies if one.limit is not None})
    near = [limit for limit in limits if limit <= _FAR * highest]
    shapes = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": limit, "y1": limit, "line": {"dash": "dash"}}
        for limit in near
    ]
    notes = [_note(f"limit {bound(limit)}", limit, "y") for limit in near]
    notes += [_note(f"limit {bound(limit)}: above this chart", 1, "paper") for limit in limits if limit not in near]
    axis = {"title": {"text": f"epsilon at delta {delta:g}"}, "rangemode": "tozero"}
    layout = {
        "showlegend": True,
        "yaxis": axis,
        "xaxis": {"type": "date", "title": {"text": "time (UTC)"}},
        "shapes": shapes,
        "annotations": notes,
        "margin": {"t": 30},
    }
    return {"data": lines, "layout": layout}


def _note(text: str, y: float, yref: str) -> dict[str, object]:
    place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": yref, "y": y, "yanchor": "bottom"}
    return {"text": text, "showarrow": False, **place}


def _text(name: str) -> str:
    """For plotly, which reads a small HTML of its own in labels."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
