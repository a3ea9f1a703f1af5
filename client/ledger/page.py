"""The ledger as one HTML page: what was spent of each budget, and a chart of it over time."""

import json

from plotly.offline import get_plotlyjs

from client.ledger.account import Account
from client.ledger.markup import page, paragraph, table
from client.ledger.text import rounds_words, unnoised_words

_COLUMNS = ("", "With noise", "Limit", "Left", "Without noise", "In one line")
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
            f"Epsilon bounds what the releases with noise, all together, can tell about any one patient, at delta "
            f"{delta:g}. What left without noise has no epsilon: it is counted beside it; where it is more than the "
            "declared weight levels there is no overall epsilon."
        ),
        table(_COLUMNS, [_row(f"study {one.name}", one) for one in studies]),
        table(_COLUMNS, [_row(f"year {one.name}", one) for one in years]),
        '<div id="chart" class="chart" role="img" aria-label="Epsilon of each study over time"></div>',
        f'<script type="application/json" id="figure">{figure}</script>',
        scripts=(plotly, _DRAW),
    )


def _row(name: str, account: Account) -> tuple[str, ...]:
    limit = "none" if account.limit is None else f"epsilon {account.limit:g}"
    return (
        name,
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
    limits = sorted({one.limit for one in studies if one.limit is not None})
    shapes = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": limit, "y1": limit, "line": {"dash": "dash"}}
        for limit in limits
    ]
    axis = {"title": {"text": f"epsilon at delta {delta:g}"}, "rangemode": "tozero"}
    layout = {"showlegend": True, "yaxis": axis, "xaxis": {"type": "date"}, "shapes": shapes, "margin": {"t": 10}}
    return {"data": lines, "layout": layout}


def _text(name: str) -> str:
    """For plotly, which reads a small HTML of its own in labels."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
