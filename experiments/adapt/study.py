"""One task held out: a federation of the others, then the task from a few labels of all sites together."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from client.adapt.adapt import FROZEN, MOVED, OTHERS
from client.adapt.compare import compared, shares
from client.adapt.material import Material
from client.adapt.task import extended
from client.config import SiteConfig
from client.site_rows import TEST, TRAIN
from common.files import read_bytes, write_atomic
from common.model_file import ModelFile
from common.plan import Plan, plan_from_dict
from experiments.baselines.tables import load_tables, merged
from experiments.simulate import simulate
from server.result import MODEL

SIZES, DRAWS = (10, 50, 200), 10


def of_stays(plan: Plan) -> list[str]:
    """The tasks that can be held out; hourly ones are among the others."""
    return [task.name for task in plan.tasks if not task.hourly]


def without(plan: Plan, name: str) -> Plan:
    """`plan` with all tasks but this one, and plain sums: they are the same numbers."""
    content = plan.model_dump(mode="json")
    content["tasks"] = [task for task in content["tasks"] if task["name"] != name]
    content["aggregation"] |= {"secure": False, "colluding_sites": 0, "absent_members": None}
    return plan_from_dict(content, source=plan.federation.name)


def material_of(plan: Plan, name: str, sites: Sequence[SiteConfig], model: ModelFile) -> Material:
    """The rows of all sites together for the task `name` of `plan`, which `model` does not have."""
    grown = extended(model.plan, plan.task(name).model_dump(mode="json"), source=plan.federation.name)
    table = merged(load_tables(grown, sites))
    train, test = np.flatnonzero(table.split == TRAIN), np.flatnonzero(table.split == TEST)
    return Material(model, grown, table.features, table.hours, table.labels[:, -1], table.patients, train, test)


def held_out(
    plan: Plan,
    name: str,
    sites: Sequence[SiteConfig],
    work: Path,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """What is found for the task `name`; kept in `work`, and read from there the next time."""
    kept = work / f"{name}.json"
    if not kept.exists():
        folder = work / name
        simulate(without(plan, name), sites, folder, resume=True)
        model = ModelFile.from_bytes(read_bytes(folder / MODEL), source=str(folder / MODEL))
        material = material_of(plan, name, sites, model)
        methods = [FROZEN, MOVED, *OTHERS]
        found = compared(material, sizes, draws=draws, seed=plan.seeds.split, methods=methods)
        write_atomic(kept, json.dumps({"rows": shares(material), "sizes": found}, indent=1).encode())
    return dict(json.loads(kept.read_text()))
