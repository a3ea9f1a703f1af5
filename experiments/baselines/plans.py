"""The federation's plan as a baseline needs it: the same features, tasks, network and rounds, other company."""

from typing import Any

from common.errors import PlanError
from common.plan import Plan, all_shared, plan_from_dict


def one_task(plan: Plan, index: int) -> Plan:
    """`plan` with one of its tasks only."""
    return _changed(plan, tasks=[plan.tasks[index].model_dump(mode="json")])


def in_the_open(plan: Plan) -> Plan:
    """`plan` with plain sums: the same model to within the resolution of secure ones, and nobody has to be enrolled."""
    rules = plan.aggregation.model_dump(mode="json") | {"secure": False, "colluding_sites": 0, "absent_members": None}
    return _changed(plan, aggregation=rules)


def multi_label(plan: Plan) -> Plan:
    """`plan` as a plain multi-label classifier: one shared output layer, and one input for all tasks.

    What gives any of the labels away is hidden from all of them. Raises PlanError if that leaves no feature.
    """
    hidden = sorted({name for task in plan.tasks for name in task.exclude}, key=plan.feature_index.__getitem__)
    if len(hidden) == len(plan.inputs):
        raise PlanError("all features together are excluded by one task or another, so that no input is left")
    tasks = [task.model_dump(mode="json") | {"exclude": hidden} for task in plan.tasks]
    return _changed(plan, tasks=tasks, model=plan.model.model_dump(mode="json") | {"linear_path": False})


def _changed(plan: Plan, **sections: Any) -> Plan:
    content = plan.model_dump(mode="json")
    content.pop("start", None)  # baselines begin anew
    return plan_from_dict(all_shared(content | sections), source=plan.federation.name)
