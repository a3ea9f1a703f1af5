"""The report of an adapted task: a table in the terminal, a page, and sentences that say what the figures mean."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from client.ledger.markup import page, paragraph, table

FEWEST_DRAWS = 5  # below, the resamples of a mean are too few to call a difference shown
_NAMES = {"auroc": "AUROC", "mae": "mean absolute error"}


def result_table(report: Mapping[str, Any]) -> list[RenderableType]:
    """For the terminal: a row for each number of labels, then sentences."""
    shown = Table(title=Text(_title(report), style="bold"), title_justify="left", box=SIMPLE_HEAD)
    head, rows = figures(report)
    for index, name in enumerate(head):
        shown.add_column(name, justify="right" if index else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    told = [Text(sentence) for sentence in sentences(report)]
    return [shown, *told] if rows else told


def adapt_page(report: Mapping[str, Any]) -> str:
    """One self-contained HTML page."""
    head, rows = figures(report)
    body = [table(head, rows, right=head[1:])] if rows else []
    return page(_title(report), *body, *(paragraph(sentence) for sentence in [*sentences(report), *notes(report)]))


def figures(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """(column names, rows of text): each method's mean over draws with its 95 % interval."""
    done = [size for size in report["sizes"] if "methods" in size]
    methods = list(done[0]["methods"]) if done else []
    rows = [[str(size["labels"]), *(_spread(size["methods"][name]) for name in methods)] for size in done]
    return ["Labels", *methods], rows


def sentences(report: Mapping[str, Any]) -> list[str]:
    """What was found, in plain words."""
    result = []
    for size in report["sizes"]:
        if "skipped" in size:
            result.append(f"{size['labels']} labels: not compared; it {size['skipped']}.")
        else:
            result.append(_sentence(size, report["measure"]))
    rows, measure = report["rows"], report["measure"]
    every = rows["training_rows"]
    learnt = f"{every} labels" if rows["used"] == every else f"{rows['used']} of {every} labels, drawn at random,"
    learnt += f" of {rows['training_patients']} training patients"
    if "not_judged" in report:
        return [*result, f"The model in the file learnt from {learnt}; it was not judged: {report['not_judged']}."]
    value = report["all_labels"].get(measure)
    told = "" if value is None else f", {_NAMES[measure]} {value:.3f}"
    return [
        *result,
        f"The model in the file learnt from {learnt}{told} on {rows['test_rows']} rows of {rows['test_patients']} "
        "held-out patients.",
    ]


def notes(report: Mapping[str, Any]) -> list[str]:
    """How the figures were made."""
    moved = report["encoder"] == "moved"
    return [
        f"Mean over {report['draws']} draws of the labels, in brackets the 95 % bootstrap interval of that mean. The "
        f"interval is over draws: the held-out patients are the same in each. From fewer than {FEWEST_DRAWS} draws no "
        "method is called better or worse.",
        "Draws are stratified: one row of a patient, each class with its share among the labels but at least two rows. "
        "With few labels of a rare class its share is therefore larger than at this site, and so are the risks that "
        "the models of these draws predict; the AUROC is not affected by that.",
        "Every method had the same labels, with inputs scaled as in the trained model. What is tuned (penalties, how "
        "much a head leans on the encoder, how far the encoder moves) follows from cross-validation among these.",
        *_of_hours(report["hours"]),
        "The encoder moved with the new head: the file predicts the new task only, for the other tasks' heads belong "
        "to the former encoder."
        if moved
        else "The encoder and the other tasks are as they were, bit for bit.",
        f"Trained model: SHA-256 {report['model_sha256']}, plan {report['model_plan_hash']}. Nothing left this site.",
    ]


def _of_hours(hours: int) -> list[str]:
    """hours: of the model's sequence, 0 without one."""
    if not hours:
        return []
    return [
        f"The networks read hours 0 to {hours - 1} of a stay. The logistic regression had of each hourly feature the "
        "mean, the least, the greatest and the last value, and how often there was one."
    ]


def _title(report: Mapping[str, Any]) -> str:
    return f"Task {report['task']} at {report['site']}: {_NAMES[report['measure']]} from few labels"


def _spread(found: Mapping[str, Any]) -> str:
    return (
        f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]" if "low" in found else f"{found['mean']:.3f}"
    )


def _sentence(size: Mapping[str, Any], measure: str) -> str:
    own, *others = size["methods"]
    parts = []
    for name in others:
        found = size["methods"][name]["difference"]
        sign = -1.0 if measure == "mae" else 1.0
        ends = sorted(sign * found[end] for end in ("low", "high"))
        gain = sign * found["mean"]
        words = "better than" if ends[0] > 0 else "worse than" if ends[1] < 0 else "not shown to differ from"
        parts.append((words, f"{name} ({_signed(gain)} [{_signed(ends[0])}, {_signed(ends[1])}])"))
    draws = len(size["methods"][own]["values"])
    if draws < FEWEST_DRAWS:
        told = f"too few draws to say which is better ({draws}, at least {FEWEST_DRAWS} are needed)"
        return f"{size['labels']} labels: {told}; {own} against {', '.join(what for _, what in parts)}."
    return f"{size['labels']} labels: {own} is {', '.join(f'{words} {what}' for words, what in parts)}."


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # adding 0 turns -0 into 0
