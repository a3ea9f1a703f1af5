"""Risk-coverage curves by hand: who is left out first, and what is left of the error then."""

import numpy as np
import pytest

from client.benefit.answers import TaskOutput, answer
from client.benefit.calibrate import Calibrator
from client.benefit.conformal import Conformal
from client.benefit.report import risk_coverage
from common.plan import Plan, Task

ROWS = 20


def _curve(task: Task, own: np.ndarray, labels: np.ndarray, distances: np.ndarray) -> list[dict[str, float]] | None:
    calm = np.zeros(len(labels), bool)
    output = TaskOutput("federated", Calibrator(), Conformal(0.5, 30), None)
    return risk_coverage(task, answer(task, output, own, strange=calm, gaps=calm), labels, distances)


def test_the_least_certain_rows_go_first(plan: Plan) -> None:
    """The log-odds of row i are i + 1, of either sign; the four rows nearest to even odds are wrong."""
    sign = np.where(np.arange(ROWS) % 2, 1.0, -1.0)
    own = (sign * (np.arange(ROWS) + 1.0)).astype("f4")[:, None]
    labels = np.where(np.arange(ROWS) < 4, sign < 0, sign > 0).astype("f4")
    curve = _curve(plan.task("death"), own, labels, np.zeros(ROWS))
    assert curve is not None
    errors = {point["kept"]: point["error"] for point in curve}
    assert errors == pytest.approx({1.0: 4 / 20, 0.95: 3 / 19, 0.9: 2 / 18, 0.8: 0.0, 0.7: 0.0, 0.6: 0.0, 0.5: 0.0})


def test_of_a_quantity_the_rows_farthest_from_the_training_rows_go_first(plan: Plan) -> None:
    labels, off = np.full(ROWS, 10.0, "f4"), np.arange(ROWS) % 5 + 1.0
    own, task = (labels + off).astype("f4")[:, None], plan.task("stay")
    curve = _curve(task, own, labels, off)
    assert curve is not None
    assert [point["error"] for point in curve] == pytest.approx(
        [np.sort(off)[: int(np.ceil(share * ROWS))].mean() for share in (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)]
    )
    backwards = _curve(task, own, labels, -off)
    assert backwards is not None and backwards[-1]["error"] > curve[-1]["error"]
    assert _curve(task, own, labels, np.full(ROWS, np.inf)) is None


def test_without_a_row_there_is_no_point(plan: Plan) -> None:
    for name in ("death", "stay", "triage"):
        own, nothing = np.zeros((0, plan.task(name).outputs), "f4"), np.zeros(0)
        assert _curve(plan.task(name), own, nothing.astype("f4"), nothing) == []
