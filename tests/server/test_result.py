"""result.json: what the run's state becomes."""

from typing import Any

import numpy as np
import pytest

from common.model import Layout, Normaliser
from common.plan import Plan
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
