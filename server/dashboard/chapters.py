"""One chapter per task: its measures, learning curve, hospitals and calibration."""

from collections.abc import Mapping
from typing import Any

from server.dashboard.charts import Charts
from server.dashboard.figures import learning_curve, reliability, site_scores
from server.dashboard.markup import Markup, el, join
from server.dashboard.scores import NAMES, history_of, history_rows, mapping, score_of
from server.dashboard.sums import between_two
from server.dashboard.wording import DASH, amount, at_most, count, counted, fraction, number, title_of


def chapters(result: Mapping[str, Any], charts: Charts) -> Markup:
    """All tasks, in the order of the result."""
    tasks = mapping(result, "tasks")
    return el(
        "section",
        el("h2", "Task by task"),
        *(_chapter(index, name, task, result, charts) for index, (name, task) in enumerate(tasks.items(), start=1)),
        id="tasks",
    )


def _chapter(index: int, name: str, task: Mapping[str, Any], result: Mapping[str, Any], charts: Charts) -> Markup:
    score = score_of(task)
    lower = " Lower is better." if score.measure == "mae" else ""
    panels = [
        charts.place(
            learning_curve(history_of(result), name, task),
            title="Learning",
            caption=f"{score.name} of the {history_rows(result)} patients, by round.{lower}",
        ),
        charts.place(site_scores(task), title="Hospitals", caption=_sites_caption(task)),
        charts.place(reliability(task), title="Calibration", caption=_calibration_caption(task)),
    ]
    return el(
        "article",
        el("h3", title_of(name), el("code", name)),
        el("p", task["description"], class_="text") if task.get("description") else None,
        el("p", two, class_="text") if (two := between_two(result, task)) else None,
        _measures(task),
        el("div", *panels, class_="panels") if any(panels) else None,
        _site_table(task),
        id=f"task-{index}",
    )


def _measures(task: Mapping[str, Any]) -> Markup:
    rows: list[tuple[str, Mapping[str, Any]]] = [
        ("Per-site mean", mapping(task, "per_site_mean")),
        ("Pooled", mapping(task, "pooled")),
        ("Noise: \u00b1", mapping(task, "noise")),
    ]
    merged = mapping(task, "auroc_histogram")
    if merged and merged.get("auroc") != rows[1][1].get("auroc"):
        rows.append(("From histograms", merged))
    best = {measure: task[f"oracle_{measure}"] for measure in NAMES if f"oracle_{measure}" in task}
    rows += [("Best possible", best)] if best else []
    columns = [measure for measure in NAMES if any(measure in values for _, values in rows)]
    extra = [key for key in ("n", "positives") if any(key in values for _, values in rows)]
    head = [el("th", "")] + [el("th", label, class_="n") for label in [*(NAMES[each] for each in columns), *extra]]
    body = [
        el(
            "tr",
            el("th", label, scope="row"),
            *(el("td", _value(task, each, values), class_="n") for each in columns),
            *(el("td", count(values[each]) if each in values else "", class_="n") for each in extra),
        )
        for label, values in rows
        if values
    ]
    table = el("table", el("thead", el("tr", *head)), el("tbody", *body), class_="measures")
    return el("div", table, _histogram_note(task), class_="scroll")


def _value(task: Mapping[str, Any], measure: str, values: Mapping[str, Any]) -> Markup | str:
    value = number(values.get(measure))
    if value is None:
        return ""
    shown = amount(value, score_of(task).unit) if measure == "mae" else fraction(value)
    return el("data", shown, value=repr(value))


def _histogram_note(task: Mapping[str, Any]) -> Markup | None:
    merged = mapping(task, "auroc_histogram")
    bound, bins = number(merged.get("bound")), number(merged.get("bins"))
    if bound is None or bins is None:
        return None
    words = f"AUROC of all patients: from {count(bins)} summed score bins, without any single score; "
    words += f"within {at_most(bound)} of exact."
    return el("p", words, class_="note")


def _site_table(task: Mapping[str, Any]) -> Markup | None:
    sites = mapping(task, "per_site")
    if not sites:
        return None
    columns = [measure for measure in NAMES if any(measure in entry for entry in sites.values())]
    extra = [key for key in ("train_n", "n", "positives") if any(key in entry for entry in sites.values())]
    labels = {"train_n": "training rows", "n": "test rows", "positives": "positives"}
    head = [el("th", "Hospital")]
    head += [
        el("th", label, class_="n") for label in [*(NAMES[each] for each in columns), *(labels[key] for key in extra)]
    ]
    body = [
        el(
            "tr",
            el(
                "th",
                name,
                el("small", "not counted in the mean") if not entry.get("counted", True) else None,
                scope="row",
            ),
            *(el("td", _value(task, each, entry) or DASH, class_="n") for each in columns),
            *(el("td", count(entry.get(key)), class_="n") for key in extra),
        )
        for name, entry in sites.items()
    ]
    table = el("table", el("thead", el("tr", *head)), el("tbody", *body), class_="measures")
    return el("details", el("summary", "Every hospital in numbers"), el("div", table, class_="scroll"))


def _sites_caption(task: Mapping[str, Any]) -> Markup:
    score = score_of(task)
    start = "Bars begin at chance. " if score.measure == "auroc" else "Lower is better. "
    shown = [entry for entry in mapping(task, "per_site").values() if score.measure in entry]
    pale = any(not entry.get("counted", True) for entry in shown)
    return join(f"{start}Test patients.", " Pale: not counted in the mean." if pale else None)


def _calibration_caption(task: Mapping[str, Any]) -> str:
    found = mapping(task, "calibration")
    error, groups = number(found.get("ece")), found.get("groups") or []
    line = "On the line, a predicted risk is the observed one."
    if error is None:
        return line
    return (
        f"Expected calibration error (ECE) {fraction(error)} over {counted(len(groups), 'group')} of patients. {line}"
    )
