"""A comparison as one self-contained page, in the clothes of the report: it loads nothing from a network."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from experiments.compare.figures import forest, spoken
from server.dashboard.charts import Charts
from server.dashboard.markup import Markup, el, join
from server.dashboard.wording import counted


def page(comparison: Mapping[str, Any]) -> str:
    """The page as text; comparison: what `comparison` returns."""
    charts = Charts()
    reference, others = comparison["reference"], comparison["labels"][1:]
    body = el(
        "main",
        el("header", el("p", "Consilium", class_="eyebrow"), el("h1", f"Against {reference}"), _lede(comparison)),
        _overview(comparison, charts),
        *(_label(label, comparison, charts) for label in others),
    )
    return _frame(f"Against {reference}", body, charts)


def _lede(comparison: Mapping[str, Any]) -> Markup:
    seeds = len(comparison["seeds"])
    words = (
        f"Every difference is paired: the same split, the same test patients. {seeds} seed{'s' if seeds != 1 else ''}."
    )
    if seeds > 1:
        words += (
            f" Bars are {comparison['level']:.0%} intervals, wider for the patients that splits share; one across the "
            "line says nothing."
        )
    return el("p", words, class_="lede")


def _overview(comparison: Mapping[str, Any], charts: Charts) -> Markup | None:
    whole = comparison.get("mean_over_tasks")
    if not whole:
        return None
    title = f"Mean over {counted(len(whole['tasks']), 'task')}"
    head = el("tr", *(el("th", name) for name in ("", "Per-site mean AUROC", "Difference")))
    rows = [
        el("tr", el("th", label), el("td", f"{value:.3f}"), el("td", _spoken(whole["differences"].get(label))))
        for label, value in whole["values"].items()
    ]
    return el(
        "section",
        el("h2", title),
        charts.place(forest(whole["differences"], measure="auroc"), title=title, wide=True),
        el("table", el("thead", head), el("tbody", *rows), class_="measures"),
    )


def _label(label: str, comparison: Mapping[str, Any], charts: Charts) -> Markup:
    reference = comparison["reference"]
    ranked = {}
    if "mean_over_tasks" in comparison:
        ranked["mean"] = comparison["mean_over_tasks"]["differences"][label]
    tasks = comparison["tasks"]
    ranked |= {name: task["differences"][label] for name, task in tasks.items() if task["measure"] == "auroc"}
    errors = [
        charts.place(
            forest({name: task["differences"][label]}, measure="mae", unit=task["unit"]),
            title=name,
            caption="An error: less than 0 is better.",
        )
        for name, task in tasks.items()
        if task["measure"] == "mae"
    ]
    sites = {name: entry[label] for name, entry in comparison["sites"].items() if label in entry}
    panels = [
        charts.place(
            forest(ranked, measure="auroc", strong=int("mean" in ranked)),
            title="Tasks",
            caption=f"Above 0: {label} is better than {reference}.",
        ),
        charts.place(
            forest(sites, measure="auroc"), title="Hospitals", caption="Mean over the tasks that count at a hospital."
        ),
        *errors,
    ]
    return el("section", el("h2", f"{label} minus {reference}"), el("div", *panels, class_="panels"))


def _spoken(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else spoken(row)


def _frame(title: str, body: Markup, charts: Charts) -> str:
    assets = files("server.dashboard")
    template, style, own = (
        assets.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    plotly, script = (code.replace("\r\n", "\n") for code in (get_plotlyjs(), own))
    hashes = " ".join(f"'sha256-{b64encode(sha256(code.encode()).digest()).decode()}'" for code in (plotly, script))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    return Template(template).substitute(
        policy=policy,
        title=join(title),
        style=style,
        body=body,
        figures=charts.as_json(),
        plotly=plotly,
        script=script,
    )
