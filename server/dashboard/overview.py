"""The top of the page: what was done in one sentence, the headline numbers and one row per task."""

from collections.abc import Mapping
from typing import Any

from server.dashboard.markup import Markup, el, join
from server.dashboard.noise import counted_once
from server.dashboard.rounds import rounds_line, stopped_line
from server.dashboard.scores import Score, mapping, mean_auroc, score_of
from server.dashboard.start import start_line
from server.dashboard.strips import auroc_floor, legend, strip
from server.dashboard.sums import seen, single_hospitals
from server.dashboard.wording import DASH, count, counted, duration, fraction, number, size, title_of

_KINDS = {
    "binary": "yes or no",
    "hourly": "yes or no, at each hour",
    "multiclass": "several classes",
    "ordinal": "ordered classes",
    "regression": "a quantity",
}


def site_count(result: Mapping[str, Any]) -> int:
    """How many sites took part."""
    return int(number(result.get("site_count")) or len(mapping(result, "sites")))


def summary(result: Mapping[str, Any]) -> str:
    """The run in plain words, without markup."""
    sites, tasks, rounds = site_count(result), len(mapping(result, "tasks")), int(result.get("rounds") or 0)
    who = counted(sites, "hospital")
    sums = " ".join(filter(None, (seen(result), single_hospitals(result))))
    return (
        f"{who[:1].upper()}{who[1:]} trained one model for {counted(tasks, 'task')} in {counted(rounds, 'round')}. "
        "No record left a hospital." + (f" {sums}" if sums else "")
    )


def header(result: Mapping[str, Any]) -> Markup:
    """Title, summary and what kind of run it was."""
    where = "Simulation" if mapping(result, "sites") else "Deployed federation"
    name = str(result.get("federation") or "")
    return el(
        "header",
        el("p", "Consilium", el("span", where), el("span", name) if name else None, class_="eyebrow"),
        el("h1", result.get("title") or title_of(name) or "Federation"),
        el("p", summary(result), class_="lede"),
        cards(result),
    )


def cards(result: Mapping[str, Any]) -> Markup:
    """The headline numbers."""
    sites, tasks = mapping(result, "sites"), mapping(result, "tasks")
    shown = [_card(count(site_count(result)), "hospitals" if site_count(result) != 1 else "hospital")]
    patients = [number(site.get("patients")) or number(site.get("rows")) for site in sites.values()]
    known = [each for each in patients if each is not None]
    if known:
        shown.append(_card(count(sum(known)), "patients in all"))
    mean, best = mean_auroc(tasks), mean_auroc(tasks, "best")
    if mean:
        words = "AUROC at a hospital, mean over " + counted(mean[1], "task")
        if best and best[1] == mean[1]:
            words += f"; best possible {fraction(best[0])}"
        shown.append(_card(fraction(mean[0]), words))
    rounds, seconds = number(result.get("rounds")), number(result.get("seconds"))
    if rounds is not None:
        words = "rounds" + (f" in {duration(seconds)}" if seconds else "")
        enough = number(result.get("rounds_to_99_percent"))
        words += f"; 99\u00a0% of the final AUROC after\u00a0{count(enough)}" if enough is not None else ""
        shown.append(_card(count(rounds), words))
    sent = number(result.get("bytes_up_per_site_per_round"))
    if sent is not None and rounds:
        shown.append(_card(size(sent * rounds), "sent by each hospital, all rounds together"))
    return el("dl", *shown, class_="cards")


def results(result: Mapping[str, Any]) -> Markup:
    """One row per task: its strip, the per-site mean, the pooled value, the best possible and the test rows."""
    tasks = mapping(result, "tasks")
    scores = {name: score_of(task) for name, task in tasks.items()}
    best = any(score.best is not None for score in scores.values())
    low = auroc_floor(tasks)
    scale = el("span", el("span", f"{low:.1f}"), el("span", "AUROC"), el("span", "1.0"), class_="scale")
    head = [el("th", "Task"), el("th", scale), el("th", "Per-site mean", class_="n"), el("th", "Pooled", class_="n")]
    head += [el("th", "Best possible", class_="n")] if best else []
    rows = [
        _row(index, name, tasks[name], score, low=low, best=best)
        for index, (name, score) in enumerate(scores.items(), start=1)
    ]
    return el(
        "section",
        el("h2", "Results"),
        el("p", _reading(scores, best=best), class_="text"),
        el("p", once, class_="text") if (once := counted_once(result)) else None,
        *(el("p", line, class_="text") for told in (start_line, stopped_line, rounds_line) if (line := told(result))),
        el(
            "table",
            el("thead", el("tr", *head, el("th", "Test rows", class_="n"))),
            el("tbody", *rows),
            class_="results",
        ),
        legend(sites=any(mapping(task, "per_site") for task in tasks.values()), best=best, scale=_scale(scores, low)),
        id="results",
    )


def value_cell(score: Score, value: float | None, label: str) -> Markup:
    """A table cell with a score as a reader sees it, and as result.json holds it in `data`'s value."""
    return _value_cell(score.text(value), value, label)


def _value_cell(words: str, value: float | None, label: str) -> Markup:
    shown = el("data", words, value=repr(value)) if value is not None else DASH
    return el("td", shown, class_="n", data_label=label)


def _row(index: int, name: str, task: Mapping[str, Any], score: Score, *, low: float, best: bool) -> Markup:
    kind = _KINDS.get(str(task.get("kind")), str(task.get("kind") or ""))
    measure = "error, lower is better" if score.measure == "mae" else "AUROC"
    return el(
        "tr",
        el("th", el("a", title_of(name), href=f"#task-{index}"), el("small", f"{kind}; {measure}"), scope="row"),
        el("td", strip(task, low=low), class_="strip-cell"),
        value_cell(score, score.per_site_mean, "Per-site mean"),
        _value_cell(score.pooled_text(), score.pooled, "Pooled"),
        value_cell(score, score.best, "Best possible") if best else None,
        el("td", _rows(score, task), class_="n", data_label="Test rows"),
    )


def _rows(score: Score, task: Mapping[str, Any]) -> str:
    noise = number(mapping(task, "noise").get("n"))
    return count(score.rows) if noise is None else f"{count(score.rows)} \u00b1 {count(round(noise))}"


def _scale(scores: Mapping[str, Score], low: float) -> str:
    measures = {score.measure for score in scores.values()}
    parts = [f"AUROC from {low:.1f} to 1"] if "auroc" in measures else []
    parts += ["errors from 0"] if "mae" in measures else []
    return f"strips: {', '.join(parts)}" if parts else ""


def _reading(scores: Mapping[str, Score], *, best: bool) -> Markup:
    sentences = ["Measured on test patients that no hospital trained on."]
    if any(score.measure == "auroc" for score in scores.values()):
        sentences.append("AUROC: 0.5 is chance, 1 is a perfect ranking.")
    if any(score.measure == "mae" for score in scores.values()):
        sentences.append("MAE: the mean absolute error, in the task's own unit.")
    sentences.append("The per-site mean counts every hospital alike; pooled counts every patient alike.")
    if best:
        sentences.append("Best possible is what the true risk behind the synthetic data scores.")
    return join(" ".join(sentences))


def _card(value: str, words: str) -> Markup:
    return el("div", el("dt", words), el("dd", value))
