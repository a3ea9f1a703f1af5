"""The earlier model that a federation goes on from: kept in the run's folder, checked against the plan."""

import hashlib
from pathlib import Path
from typing import Any

from common.errors import PlanError
from common.files import exists, read_bytes, write_atomic
from common.model_file import ModelFile
from common.plan import Plan
from common.start import StartingPoint, starting_point

START = "start.safetensors"


def load_start(plan: Plan, file: Path) -> StartingPoint:
    """What `plan` begins with, from the model in `file`. Raises ConsiliumError unless it is what the plan names."""
    begin = starting_point(plan, ModelFile.from_bytes(read_bytes(file), source=str(file)), source=str(file))
    if plan.start is None:
        raise PlanError(f"{file}: the plan has no [start] and begins anew; `consilium plan start` writes that section.")
    if begin.digest != plan.start.vector:
        raise PlanError(
            f"{file}: gives a start with the SHA-256 {begin.digest}, start.vector of the plan is {plan.start.vector}; "
            "another model, other tasks or another seed."
        )
    return begin


def check_start(plan: Plan, file: Path | None, folder: Path) -> None:
    """Raises ConsiliumError where the earlier model is missing, or another than the plan names; before a run begins.

    file: as the command names it; None: it is expected in the run's folder, if the plan needs one.
    """
    if file is not None:
        load_start(plan, file)
    elif plan.start is not None and not exists(folder / START):
        raise PlanError("the plan goes on from an earlier model; name its file with --start.")


def keep_start(plan: Plan, file: Path, folder: Path) -> None:
    """Leave `file` in a run's folder, where it is read from. Raises ConsiliumError."""
    load_start(plan, file)
    write_atomic(folder / START, read_bytes(file), private=True)


def start_facts(plan: Plan, folder: Path, begin: StartingPoint) -> dict[str, Any]:
    """What the result says of it, `start` in docs/result.md."""
    return {
        "model_sha256": hashlib.sha256(read_bytes(folder / START)).hexdigest(),
        "plan_hash": begin.model.plan.hash,
        "vector": begin.digest,
        "freeze_encoder": plan.frozen,
        "kept": list(begin.kept),
        "new": list(begin.new),
    }


def read_start(plan: Plan, folder: Path) -> StartingPoint | None:
    """What a run begins with; None for one that begins anew. Raises ConsiliumError."""
    if plan.start is None:
        return None
    check_start(plan, None, folder)
    return load_start(plan, folder / START)
