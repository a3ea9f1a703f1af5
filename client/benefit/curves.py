"""The risk-coverage curves of all tasks as one drawing: what is gained by staying silent where it is least certain."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from client.benefit.words import figure

Point = Mapping[str, float]
_ACROSS, _WIDTH, _HEIGHT, _GAP = 3, 220, 150, 30
_LEFT, _TOP, _BOTTOM = 34, 20, 22
_LONGEST = 24  # letters of a task's name above its panel


def curves(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """A figure with a panel for each task that has a curve, '' where none has. tasks: as in benefit.json."""
    drawn = [(name, entry) for name, entry in tasks.items() if entry.get("risk_coverage")]
    if not drawn:
        return ""
    panels = []
    for place, (name, entry) in enumerate(drawn):
        row, column = divmod(place, _ACROSS)
        at = f"translate({column * (_WIDTH + _GAP)} {row * _HEIGHT})"
        panels.append(f'<g transform="{at}">{_panel(name, entry)}</g>')
    width, height = _ACROSS * (_WIDTH + _GAP), -(-len(drawn) // _ACROSS) * _HEIGHT
    label = "Error among the test rows that are kept, as the least certain ones are left out from left to right"
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" width="100%" role="img" aria-label="{label}" '
        f'font-size="12">{"".join(panels)}</svg><figcaption>{label}. Dotted: the error of all. Share of wrong answers; '
        "of ordered classes the mean distance in classes; of a quantity the mean absolute error, and left out first "
        "are the rows farthest from the training rows.</figcaption></figure>"
    )


def _panel(name: str, entry: Mapping[str, Any]) -> str:
    """One curve in a box of _WIDTH by _HEIGHT; the vertical axis begins at 0 and ends at its greatest error."""
    curve: Sequence[Point] = entry["risk_coverage"]
    most = max(point["error"] for point in curve) or 1.0
    floor, right = _HEIGHT - _BOTTOM, _WIDTH
    widest, narrowest = curve[0]["kept"], curve[-1]["kept"]

    def x(kept: float) -> float:
        return _LEFT + (widest - kept) / ((widest - narrowest) or 1.0) * (right - _LEFT)

    def y(error: float) -> float:
        return floor - error / most * (floor - _TOP - 6)

    line = " ".join(f"{x(point['kept']):.1f},{y(point['error']):.1f}" for point in curve)
    title = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    if entry["kind"] == "regression":
        title += f" ({entry['unit']})"
    grey, all_rows = 'fill="#5a6672"', y(curve[0]["error"])
    return "".join(
        (
            f'<text x="{_LEFT}" y="12">{escape(title)}</text>',
            f'<polyline points="{_LEFT},{_TOP} {_LEFT},{floor} {right},{floor}" fill="none" stroke="#8a97a5"/>',
            f'<line x1="{_LEFT}" x2="{right}" y1="{all_rows:.1f}" y2="{all_rows:.1f}" stroke="#8a97a5" '
            'stroke-dasharray="2 3"/>',
            f'<polyline points="{line}" fill="none" stroke="#2b6a9b" stroke-width="2"/>',
            f'<text x="{_LEFT - 4}" y="{y(most) + 4:.1f}" text-anchor="end" {grey}>{figure(most)}</text>',
            f'<text x="{_LEFT - 4}" y="{floor + 4}" text-anchor="end" {grey}>0</text>',
            f'<text x="{_LEFT}" y="{_HEIGHT - 6}" {grey}>{widest:.0%} kept</text>',
            f'<text x="{right}" y="{_HEIGHT - 6}" text-anchor="end" {grey}>{narrowest:.0%}</text>',
        )
    )
