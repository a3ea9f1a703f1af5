"""Sections about the run: what left each hospital, clipping, missing values, what was left out, provenance."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from server.dashboard.charts import Charts
from server.dashboard.markup import Markup, el, join
from server.dashboard.noise import noised, survey_line
from server.dashboard.privacy import meaning, noise_line
from server.dashboard.run_figures import MOST_FEATURES, failures, missing_values, norms_by_round, norms_by_site
from server.dashboard.scores import history_of, mapping
from server.dashboard.sums import masked, promise
from server.dashboard.wording import count, number, rounds_text, size, title_of


def boundary(result: Mapping[str, Any]) -> Markup:
    """What stayed inside each hospital and what left it, on both sides of a wall, with bytes."""
    rounds, parameters = int(result.get("rounds") or 0), number(result.get("parameters"))
    clip = number(result.get("clip_norm"))
    rows = [number(site.get("rows")) for site in mapping(result, "sites").values()]
    records = f"All {count(sum(filter(None, rows)))} patient records" if any(rows) else "Every patient record"
    update = f"{count(rounds)} model updates" if rounds != 1 else "One model update"
    update += f" of {count(parameters)} numbers" if parameters is not None else ""
    clipped = f", each clipped to norm {clip:g}" if clip is not None else ""
    unit = mapping(result, "privacy").get("unit")
    hidden_by, counted = (", under noise" if unit in units else "" for units in (("patient", "hospital"), ("patient",)))
    inside = _points(records, "Labels and predictions of single patients", "Updates as they were before clipping")
    tallies = f"Tallies: counts, moments and score histograms{counted}"
    weights = "Of each task and feature a weight of 1/8, 1/4, 1/2 or 1, in the open" if masked(result) else None
    outside = _points(update + clipped + hidden_by, tallies, masked(result), weights)
    return el(
        "section",
        el("h2", "What left each hospital"),
        el("div", _side("Stayed inside", inside), _side("Went out", outside), class_="wall"),
        el("p", promise(result), class_="text") if promise(result) else None,
        el("p", hidden, class_="text") if (hidden := noise_line(result)) else None,
        el("p", means, class_="text") if (means := meaning(result)) else None,
        el("p", _traffic(result), class_="text"),
        id="privacy",
    )


def training(result: Mapping[str, Any], charts: Charts) -> Markup | None:
    """Update norms before and after clipping, by round and by hospital."""
    panels = [
        charts.place(
            norms_by_round(result),
            title="Update norm by round",
            caption="Thin lines: single hospitals before clipping." if mapping(result, "sites") else None,
        ),
        charts.place(
            norms_by_site(result),
            title="Update norm by hospital",
            caption="Circles: medians over the rounds. Bars: from the smallest to the largest norm before clipping.",
        ),
    ]
    if not any(panels):
        return None
    words = "An update longer than the clip norm is scaled down to it, so that no hospital can move the model further."
    body = (el("h2", "Clipping"), el("p", words, class_="text"), el("div", *panels, class_="panels"))
    return el("section", *body, id="training")


def data(result: Mapping[str, Any], charts: Charts) -> Markup | None:
    """How much of each feature is missing, pooled and by hospital."""
    figure = missing_values(result)
    if figure is None:
        return None
    listed = max(
        len(mapping(result, "missing")),
        *(len(mapping(site, "missing")) for site in mapping(result, "sites").values()),
        0,
    )
    cut = f" The {MOST_FEATURES} emptiest features of {listed}." if listed > MOST_FEATURES else ""
    told = " The column of all has the noise of the survey." if noised(result) and mapping(result, "sites") else ""
    where = "by hospital" if mapping(result, "sites") else "over all hospitals, from summed counts"
    return el(
        "section",
        el("h2", "Missing values"),
        el("p", f"The share of rows in which a feature was not measured, {where}.{cut}{told}", class_="text"),
        el("p", scaled, class_="text") if (scaled := survey_line(result)) else None,
        charts.place(figure, title="Missing values", wide=True, max_rem=10 + 9 * len(figure["data"][0]["x"])),
        id="data",
    )


def left_out(result: Mapping[str, Any], charts: Charts) -> Markup:
    """Tasks and features that the run left out, with the reason, and hospitals that failed, by round."""
    omitted = mapping(result, "left_out")
    entries = [
        el("div", el("dt", title_of(name), el("small", f"{kind} ", el("code", name))), el("dd", reason))
        for kind, key in (("task", "tasks"), ("feature", "features"))
        for name, reason in mapping(omitted, key).items()
    ]
    failed: dict[tuple[str, str], list[int]] = {}
    for entry in history_of(result):
        for site, code in mapping(entry, "failed").items():
            failed.setdefault((site, str(code)), []).append(int(entry["round"]))
    rows = [
        el(
            "div",
            el("dt", site, el("small", "hospital")),
            el("dd", f"failed in {rounds_text(when)}: ", el("code", code)),
        )
        for (site, code), when in failed.items()
    ]
    quiet = []
    if not entries:
        quiet.append("No task and no feature of the plan was left out.")
    if not rows:
        quiet.append("No hospital failed in any round.")
    return el(
        "section",
        el("h2", "Left out and failed"),
        el("p", " ".join(quiet), class_="text") if quiet else None,
        el("dl", *entries, *rows, class_="entries") if entries or rows else None,
        charts.place(failures(result), title="Failed rounds", wide=True),
        id="left-out",
    )


def provenance(result: Mapping[str, Any]) -> Markup:
    """What is needed to run it again."""
    seeds = ", ".join(f"{name} {value}" for name, value in mapping(result, "seeds").items())
    facts = [
        ("Plan", el("code", result["plan_hash"]) if result.get("plan_hash") else None),
        ("Seed", join(result.get("seed"), f" ({seeds})" if seeds else None) if "seed" in result else None),
        ("Strategy", result.get("strategy")),
        ("Kept at each hospital", _kept(result)),
        ("Parameters", count(result["parameters"]) if "parameters" in result else None),
        ("Made by", f"Consilium {_version()}, from {result.get('schema')}"),
    ]
    return el(
        "footer",
        el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in facts if value is not None)),
        el("p", "A research result, not a medical device. This page is one file and loads nothing from a network."),
    )


def _kept(result: Mapping[str, Any]) -> str | None:
    """What of the model each hospital has for itself; None where all is shared."""
    scaling = ["scaling of features"] if result.get("scaling") == "site" else []
    parts = [{"linear": "linear path"}.get(part, part) for part in result.get("local", [])]
    return ", ".join([*scaling, *parts]) or None


def _traffic(result: Mapping[str, Any]) -> str:
    rounds = int(result.get("rounds") or 0)
    up, down = (number(result.get(f"bytes_{way}_per_site_per_round")) for way in ("up", "down"))
    sentences = []
    if down is not None:
        sentences.append(f"In each round a hospital received the model, {size(down)}.")
    if up is not None:
        sentences.append(f"It sent {size(up)} back: {size(up * rounds)} over the whole run.")
    if result.get("secure") is False and mapping(result, "privacy").get("unit") != "patient":
        sentences.append(
            "An update is not a record, but it was computed from records: in plain mode the coordinator could study it."
        )
    sentences.append("Clipping bounds what one hospital contributes; it is not by itself a guarantee of privacy.")
    return " ".join(sentences)


def _side(title: str, points: Markup) -> Markup:
    return el("div", el("h3", title), points)


def _points(*items: str | None) -> Markup:
    return el("ul", *(el("li", item) for item in items if item is not None))


def _version() -> str:
    try:
        return version("consilium")
    except PackageNotFoundError:
        return "from a source tree"
