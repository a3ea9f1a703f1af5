"""result.json: what the run's state becomes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.model import Layout, Normaliser
from common.plan import Plan
from server.dashboard.chapters import chapters
from server.dashboard.charts import Charts
from server.dashboard.rounds import rounds_line
from server.journal import RunState
from server.result import assemble

PROTOCOL = {"threshold": 2, "committee": 3, "colluding_sites": 0, "min_cohort": 3}


@pytest.fixture
def state(plan: Plan) -> RunState:
    """The end of a run in which nothing was trained."""
    arrays = {
        "parameters": np.zeros(Layout(plan).parameters, dtype=np.float32),
        "normaliser": np.ones(Normaliser.size(plan), dtype=np.float32),
        "edges": np.zeros(3, dtype=np.float32),
    }
    facts: dict[str, Any] = {"left_out": {"tasks": {}, "features": {}}, "missing": {}, "history": [], "sites": ["a"]}
    return RunState(3, arrays, facts | {"tasks": {task.name: {} for task in plan.tasks}})


def test_rules_of_secure_sums_are_in_the_result(plan: Plan, state: RunState) -> None:
    assert assemble(plan, state, secure=True, protocol=PROTOCOL)["secure_aggregation"] == PROTOCOL


@pytest.mark.parametrize(("secure", "protocol"), [(False, PROTOCOL), (False, None), (True, None)])
def test_what_is_not_known_or_does_not_apply_is_absent(plan: Plan, state: RunState, secure: bool, protocol) -> None:
    result = assemble(plan, state, secure=secure, protocol=protocol)
    assert "secure_aggregation" not in result and result["secure"] is secure


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ({}, "validation"),
        ({"train": 0.75, "validation": 0.0}, "training"),
        ({"train": 0.75, "validation": 0.0, "split_column": "part"}, "validation"),
    ],
    ids=["a tenth", "none", "a column"],
)
def test_a_curve_of_training_rows_is_not_called_one_of_validation_rows(
    make_plan: Callable[..., Plan], state: RunState, split: dict[str, Any], rows: str
) -> None:
    state.facts["history"] = [{"round": r, "tasks": {"death": {"auroc": 0.8}}} for r in (1, 2, 3)]
    result = assemble(make_plan(split=split), state, secure=False)
    assert ("history_rows" in result) == (rows == "training")
    assert rounds_line(result) == f"99 % of the final mean AUROC ({rows} rows): after 0 of 3 rounds."
    captions = str(chapters(result, Charts()))
    assert f"of the {rows} patients, by round." in captions
