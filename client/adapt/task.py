"""The new task and the plans that follow from it: the model's with one task more, and one with this task alone."""

import tomllib
from pathlib import Path
from typing import Any

from common.errors import PlanError
from common.files import read_bytes
from common.plan import Plan, plan_from_dict

_ALONE = {"strategy": "fedprox", "secure": False, "clip_norm": 1e9, "min_sites": 1, "min_task_sites": 1}


def read_task(path: Path, name: str | None) -> dict[str, Any]:
    """One entry of `[[tasks]]` in a TOML file, of those alone or of a whole plan; `name` may be None where it has one.

    Raises PlanError.
    """
    try:
        content = tomllib.loads(read_bytes(path).decode())
    except ValueError as error:  # also UnicodeDecodeError
        raise PlanError(f"{path}: not valid TOML: {error}.") from None
    except RecursionError:
        raise PlanError(f"{path}: not valid TOML: arrays or tables are nested too deeply.") from None
    tasks = content.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
        raise PlanError(f"{path}: holds no task; expected a table [[tasks]] with name and label (docs/federation.md).")
    if name is None and len(tasks) == 1:
        return dict(tasks[0])
    for task in tasks:
        if task.get("name") == name:
            return dict(task)
    found = ", ".join(str(task.get("name")) for task in tasks)
    wanted = "needs a --task" if name is None else f"--task {name} is none of its tasks"
    raise PlanError(f"{path}: {wanted}; the file has {found}.")


def extended(plan: Plan, task: dict[str, Any], *, source: str, left_out: tuple[str, ...] = ()) -> Plan:
    """`plan` with `task` as its last. Raises PlanError, naming `source`, if the two do not go together.

    left_out: tasks of `plan` that the model did not learn. What it did learn is no new task under another name: the
    encoder has seen that label already, and a comparison from few labels would flatter it.
    """
    if task.get("kind") == "hourly":
        raise PlanError(
            f"{source}: task {task.get('name')!r} is hourly; adapt adds tasks of the whole stay, which are 'binary', "
            "'multiclass', 'ordinal' or 'regression'."
        )
    names = [each.name for each in plan.tasks]
    if task.get("name") in names:
        raise PlanError(
            f"{source}: the model has a task {task['name']!r} already, beside {len(names) - 1} other(s); give the new "
            "task a name of its own."
        )
    learnt = {each.label: each.name for each in plan.tasks if not each.hourly and each.name not in left_out}
    label = task.get("label")
    if isinstance(label, str) and label in learnt:
        raise PlanError(
            f"{source}: the model has learnt the label {label!r} already, as its task {learnt[label]!r}; name another "
            "column, or let `consilium site benefit` fit that task to this hospital."
        )
    content = plan.model_dump(mode="json")
    # What is learnt here has no noise: a model with it cannot carry the former plan's promise.
    return plan_from_dict(content | {"tasks": [*content["tasks"], task], "privacy": {}}, source=source)


def alone(plan: Plan, **training: Any) -> Plan:
    """A plan with the last task of `plan` only, for one site that sends nothing; `training` changes that section."""
    content = plan.model_dump(mode="json")
    rules = content["training"] | {"proximal_mu": 1e-12, "balancing": "plain"} | training
    content.pop("start", None)
    sections = {"tasks": content["tasks"][-1:], "aggregation": _ALONE, "training": rules, "privacy": {}}
    return plan_from_dict(content | sections, source=plan.federation.name)
