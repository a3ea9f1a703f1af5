"""The drawing of the risk-coverage curves: one panel for each task, with the points of the report in it."""

import re
from typing import Any
from xml.etree import ElementTree

from client.benefit.curves import curves


def _entry(*errors: float) -> dict[str, Any]:
    kept = (1.0, 0.9, 0.5)
    return {
        "kind": "binary",
        "unit": "1",
        "risk_coverage": [{"kept": k, "error": e} for k, e in zip(kept, errors, strict=False)],
    }


def _lines(drawing: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]*)" fill="none" stroke="#2b6a9b"', drawing)
    return [[tuple(float(each) for each in point.split(",")) for point in line.split()] for line in found]


def test_each_curve_goes_down_from_left_to_right_as_its_errors_do() -> None:
    days = {"kind": "regression", "unit": "d"}
    tasks = {"death": _entry(0.4, 0.2, 0.0), "none": {"subgroups": {}}, "stay": _entry(1.5, 1.5, 3.0) | days}
    drawing = curves(tasks)
    first, second = _lines(drawing)
    assert [x for x, _ in first] == [x for x, _ in second] == sorted(x for x, _ in first)
    (_, top), (_, middle), (_, floor) = first  # downwards is more
    assert top < middle < floor and middle - top == floor - middle
    assert second[0][1] == second[1][1] > second[2][1] == top
    assert ">.40<" in drawing and ">3.00<" in drawing and "100% kept" in drawing and ">50%<" in drawing
    assert ">death<" in drawing and ">stay (d)<" in drawing


def test_a_model_without_an_error_and_a_single_point_are_drawn() -> None:
    assert len(_lines(curves({"a": _entry(0.0, 0.0, 0.0), "b": _entry(0.3)}))) == 2


def test_nothing_to_draw_is_no_figure_and_names_are_escaped() -> None:
    assert curves({"stay": {}}) == curves({"x": {"risk_coverage": []}}) == ""
    drawing = curves({"<b>": _entry(0.1, 0.1, 0.1), "a" * 60: _entry(0.1, 0.1, 0.1)})
    assert len(ElementTree.fromstring(drawing).findall(".//polyline")) == 4  # well-formed, two lines in each panel
    assert "<b>" not in drawing and "&lt;b&gt;" in drawing and "a" * 31 not in drawing
    assert drawing.startswith("<figure><svg ") and drawing.count("<g ") == 2
