"""The table of the federation and the baselines: per-site means, one row per method, one column per task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from server.dashboard.joining import ALONE
from server.dashboard.markup import Markup, el
from server.dashboard.scores import Score, mapping
from server.dashboard.wording import DASH, fraction, number, title_of

_TOGETHER, _ALONE, _POOLED = "Records stay where they are", "Each hospital alone", "All records in one place"
_LABELS = {
    "local": "The same network",
    "pooled": "The same network",
    "single_task": "One network per task",
    "multi_label": "One multi-label network",
    "single_task_federated": "One federation per task",
    "logistic_regression_tuned": "Logistic regression, tuned",
    "svm": "Support vectors",
}
Means = Mapping[str, float | None]  # task -> per-site mean


def methods(scores: Mapping[str, Score], baselines: Mapping[str, Any]) -> Markup:
    """The federation first, then the baselines in groups; the best of each column is in bold."""
    ranked = [name for name, score in scores.items() if score.measure == "auroc"]
    groups: dict[str, list[tuple[str, str | None, Means]]] = {_TOGETHER: [], _ALONE: [], _POOLED: []}
    ours = {name: score.per_site_mean for name, score in scores.items()}
    groups[_TOGETHER].append(("This federation", None, ours))
    for name, entry in baselines.items():
        group, label = _place(name)
        groups[group].append((label, str(entry.get("description") or name), _means(entry, scores)))
    lines = [line for group in groups.values() for line in group]
    best = {name: _best(score, [means[name] for _, _, means in lines]) for name, score in scores.items()}
    averages = [mean([means[name] for name in ranked]) for _, _, means in lines]
    best_average = max((value for value in averages if value is not None), default=None)
    with_mean = len(ranked) > 1 and best_average is not None

    def row(label: str, words: str | None, means: Means) -> Markup:
        cells = [_cell(scores[name].text, means[name], best[name]) for name in scores]
        if with_mean:
            cells.append(_cell(fraction, mean([means[name] for name in ranked]), best_average))
        return el("tr", el("th", label, scope="row", title=words), *cells, class_="ours" if words is None else None)

    head = [el("th", "Per-site mean"), *(task_head(name, score) for name, score in scores.items())]
    head += [el("th", "Mean", el("small", "AUROC"), class_="n")] if with_mean else []
    bodies = [
        el(
            "tbody",
            el("tr", el("th", title, scope="rowgroup", colspan=len(head))),
            *(row(*line) for line in group),
        )
        for title, group in groups.items()
        if group
    ]
    return el("div", el("table", el("thead", el("tr", *head)), *bodies, class_="beside"), class_="scroll")


def _place(name: str) -> tuple[str, str]:
    """The group of a baseline and its label there."""
    stem = name.removesuffix("_local").removesuffix("_pooled")
    label = _LABELS.get(stem, title_of(stem))
    if name.endswith("_federated"):
        return _TOGETHER, label
    return (_ALONE if name == ALONE or name.endswith("_local") else _POOLED), label


def _means(entry: Mapping[str, Any], scores: Mapping[str, Score]) -> Means:
    tasks = mapping(entry, "tasks")
    return {
        name: number(mapping(mapping(tasks, name), "per_site_mean").get(score.measure))
        for name, score in scores.items()
    }


def mean_of(entry: object, scores: Mapping[str, Score], tasks: Sequence[str]) -> float | None:
    """The mean over `tasks` of one baseline's per-site means; None where it is absent or lacks one of them."""
    if not isinstance(entry, Mapping):
        return None
    means = _means(entry, scores)
    return mean([means[name] for name in tasks])


def mean(values: Sequence[float | None]) -> float | None:
    """None unless every value is known: means over different tasks cannot stand beside each other."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _best(score: Score, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return (min(known) if score.measure == "mae" else max(known)) if known else None


def _cell(text: Callable[[object], str], value: float | None, best: float | None) -> Markup:
    """Bold where a reader cannot tell the value from the best."""
    if value is None:
        return el("td", DASH, class_="n")
    shown = el("data", text(value), value=repr(value))
    return el("td", el("strong", shown) if text(value) == text(best) else shown, class_="n")


def task_head(name: str, score: Score) -> Markup:
    """A column's heading; an error says which way is better."""
    lower = "error, lower is better" if score.measure == "mae" else None
    return el("th", title_of(name), el("small", lower) if lower else None, class_="n")
