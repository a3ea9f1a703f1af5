"""The benefit report as one HTML page: words first, then a line for each task, then what stands behind it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from client.benefit.candidates import FEDERATED, FINE_TUNED, LOCAL
from client.benefit.curves import curves
from client.benefit.words import figure, interval
from client.ledger.markup import page, paragraph, table

Report = Mapping[str, Any]
_ABOUT = (
    "Made inside this hospital from its own rows; nothing of it leaves. Local: the same network trained on this "
    "hospital's training rows alone. Federated: the model as received. Fine-tuned: its heads trained further here. All "
    "figures are of test rows, which decided nothing. Intervals are of 95 %, from 2,000 draws of patients."
)
_HOURS = (
    "Models for an hourly task are compared over all its labelled hours, those of a stay counting as one together; its "
    "calibration, sets, bands and errors are of one labelled hour of each stay, drawn once."
)
_WIDTH, _ROW, _LEFT = 720, 22, 240


def benefit_page(report: Report) -> str:
    """The whole page, of a report as in benefit.json."""
    tasks = report["tasks"]
    return page(
        f"What joining {report['federation']} was worth for {report['site']}",
        *(paragraph(sentence, "state") for sentence in report["words"]),
        *(paragraph(note) for note in report["notes"]),
        paragraph(_ABOUT),
        *([paragraph(_HOURS)] if any(entry["kind"] == "hourly" for entry in tasks.values()) else []),
        _chart(tasks),
        _heading("Which model"),
        table(
            ("Task", "Test rows", "Local", "Federated", "Fine-tuned", "Joining", "Chosen", "Why"),
            map(_models, *_items(tasks)),
        ),
        _heading("How sure"),
        table(
            (
                "Task",
                "Calibration",
                "ECE before",
                "after",
                "if perfect",
                "Covered (goal 90 %)",
                "Mean size",
                "Cannot say",
                "Error of all",
                "of the rest",
            ),
            map(_sure, *_items(tasks)),
        ),
        *_bands(tasks),
        *_curves(tasks),
        *_groups(tasks),
    )


def _items(tasks: Report) -> tuple[list[str], list[Report]]:
    return list(tasks), list(tasks.values())


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _value(entry: Report, model: str) -> str:
    found = entry["models"].get(model, {}).get("mae" if entry["kind"] == "regression" else "auroc")
    return "" if found is None else figure(found)


def _models(name: str, entry: Report) -> tuple[str, ...]:
    joining = entry["joining"]
    told = joining["verdict"] + (f" {interval(joining['gain'], sign=True)}" if "gain" in joining else "")
    measured = f"{name} ({entry['measure']}{', ' + entry['unit'] if entry['kind'] == 'regression' else ''})"
    values = (_value(entry, model) for model in (LOCAL, FEDERATED, FINE_TUNED))
    return (measured, str(entry["test_rows"]), *values, told, entry["choice"]["model"], entry["choice"]["why"])


def _sure(name: str, entry: Report) -> tuple[str, ...]:
    found, sets, say = entry["calibration"], entry["conformal"], entry["cannot_say"]
    kind = found["kind"] if found["kind"] != "none" else f"none: {found['why']}"
    before, after = (figure(found[key]["ece"]) if key in found else "" for key in ("before", "after"))
    chance = figure(found["after"]["ece_if_perfect"]) if "after" in found else ""
    covered = f"{sets['covered']:.0%} [{sets['low']:.0%}, {sets['high']:.0%}]" if "covered" in sets else ""
    size = f"{sets['size']:.2f}" if "size" in sets else ""
    errors = (figure(say[key]) if key in say else "" for key in ("error_of_all", "error_of_the_rest"))
    reasons = "; ".join(f"{why}: {share:.0%}" for why, share in say["reasons"].items())
    silent = f"{say['share']:.0%}" if "share" in say else "-"
    return (
        name,
        kind,
        before,
        after,
        chance,
        covered,
        size,
        silent + (f" ({reasons})" if reasons else ""),
        *errors,
    )


def _bands(tasks: Report) -> list[str]:
    rows = []
    for name, entry in tasks.items():
        if "bands" not in entry:
            continue
        bands, groups = entry["bands"], entry["bands"]["groups"]
        cells = (
            f"{groups[band]['share']:.0%} of rows, {groups[band]['observed']:.0%} had it" if band in groups else "none"
            for band in ("low", "medium", "high")
        )
        rows.append((name, f"below {bands['low']:.1%}", f"above {bands['high']:.1%}", *cells))
    if not rows:
        return []
    return [_heading("Risk bands"), table(("Task", "Low is", "High is", "Low", "Medium", "High"), rows)]


def _curves(tasks: Report) -> list[str]:
    with_curve = {
        f"{name} ({entry['unit']})" if entry["kind"] == "regression" else name: entry["risk_coverage"]
        for name, entry in tasks.items()
        if entry.get("risk_coverage")
    }
    if not with_curve:
        return []
    kept = [point["kept"] for point in next(iter(with_curve.values()))]
    rows = [(name, *(figure(point["error"]) for point in curve)) for name, curve in with_curve.items()]
    return [
        _heading("Error where the least certain rows are left out"),
        curves(tasks),
        table(("Task", *(f"{share:.0%} kept" for share in kept)), rows),
    ]


def _groups(tasks: Report) -> list[str]:
    rows: list[Sequence[str]] = []
    for name, entry in tasks.items():
        for what, grouping in entry["subgroups"].items():
            for group, figures in grouping["groups"].items():
                cells = ("patients", "auroc", "error", "cannot_say")
                shown = (str(figures.get(cell, "")) for cell in cells)
                rows.append((name, f"{what}: {group}", *(shown if figures["shown"] else ("hidden", "", "", ""))))
    if not rows:
        return []
    about = (
        "Groups of fewer patients than this hospital's policy asks for are hidden, and so is a second one wherever the "
        "first could be worked out. Patients are rounded to 5, figures to two decimals."
    )
    names = ("Task", "Group", "Patients, about", "AUROC", "Error", "Cannot say")
    return [_heading("Sex and age"), paragraph(about), table(names, rows)]


def _chart(tasks: Report) -> str:
    """Gains of joining with their intervals, in AUROC; a quantity's are in another unit and only in the table."""
    drawn = [(n, e["joining"]["gain"]) for n, e in tasks.items() if "gain" in e["joining"] and e["measure"] == "AUROC"]
    if not drawn:
        return ""
    most = max(0.05, *(abs(gain[end]) for _, gain in drawn for end in ("low", "high")))
    middle, scale = (_WIDTH + _LEFT) / 2, (_WIDTH - _LEFT) / 2 / most
    height = _ROW * (len(drawn) + 2)
    parts = [f'<line x1="{middle}" x2="{middle}" y1="{_ROW // 2}" y2="{height - _ROW}" stroke="#8a97a5"/>']
    for row, (name, gain) in enumerate(drawn):
        y = _ROW * (row + 1)
        low, value, high = (middle + gain[key] * scale for key in ("low", "value", "high"))
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="#2b6a9b" stroke-width="2"/>')
        parts.append(f'<circle cx="{value:.1f}" cy="{y}" r="4" fill="#2b6a9b"/>')
    ends = ((_LEFT, f"{figure(-most)} worse", "start"), (_WIDTH, f"better {figure(most, sign=True)}", "end"))
    for x, text, anchor in (*ends, (middle, "no difference", "middle")):
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="{anchor}" fill="#5a6672">{escape(text)}</text>')
    label = "Gain in AUROC of the federated model over the local one, with 95 % intervals"
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH + 20} {height}" width="100%" role="img" aria-label="{label}" '
        f'font-size="13">{"".join(parts)}</svg><figcaption>{label}.</figcaption></figure>'
    )
