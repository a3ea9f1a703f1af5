"""What a federation begins with that goes on from an earlier model, and the hash by which its sites know it."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.errors import PlanError
from common.model import Layout, Normaliser, initial_parameters
from common.model_file import ModelFile
from common.plan import Plan

Float32 = NDArray[np.float32]
_SAME = ("hidden", "linear_path", "piecewise_bins", "z_clip", "encoder", "sequence_width", "sequence_layers", "scaling")


@dataclass(frozen=True)
class StartingPoint:
    """parameters: (D,) float32. model: where they are from; its normaliser scales the features, for its encoder.

    kept, new: the plan's tasks whose heads go on, and those whose heads begin anew, in the plan's order.
    """

    parameters: Float32
    model: ModelFile
    kept: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return start_digest(self.parameters, self.model.normaliser)

    def scaled(self, normaliser: Normaliser) -> Normaliser:
        """What the survey found, but with the scaling of features that the earlier model was trained with."""
        before = self.model.normaliser
        return replace(
            normaliser,
            mean=before.mean,
            std=before.std,
            edges=before.edges,
            available=normaliser.available * before.available,
        )


def start_digest(parameters: Float32, normaliser: Normaliser) -> str:
    """SHA-256, hexadecimal, of the parameters and the scaling of features, as little-endian float32."""
    parts = (parameters, normaliser.mean, normaliser.std, normaliser.edges.ravel())
    return hashlib.sha256(np.concatenate(parts).astype("<f4").tobytes()).hexdigest()


def starting_point(plan: Plan, model: ModelFile, *, source: str) -> StartingPoint:
    """The encoder of `model`, its heads for tasks of the same name, and for others those that the plan's seed gives.

    source: the model file, for messages. Raises PlanError where the two do not fit.
    """
    before = model.plan
    for key in _SAME:
        old, new = getattr(before.model, key), getattr(plan.model, key)
        if old != new:
            told = [list(value) if isinstance(value, tuple) else value for value in (old, new)]
            raise PlanError(
                f"{source}: model.{key} is {told[0]} there and {told[1]} in the plan; they have to be the same."
            )
    if (before.features, before.sequence) != (plan.features, plan.sequence):
        raise PlanError(f"{source}: its plan has other features, or in another order, than the plan that goes on.")
    if any(getattr(before, key) != getattr(plan, key) for key in ("data", "split")) or (
        before.seeds.split != plan.seeds.split
    ):
        raise PlanError(
            f"{source}: its plan divides patients into training and test otherwise; with the same [data], [split] and "
            "seeds.split none is tested on that the earlier model was trained on."
        )
    layout, earlier = Layout(plan), Layout(before)
    vector = initial_parameters(layout, seed=plan.seeds.training)
    old_parts = earlier.split(model.parameters)
    kept = {task.name: number for number, task in enumerate(before.tasks) if task.name not in model.left_out}
    for name, part in layout.split(vector).items():
        if name.startswith(("encoder.", "sequence.")):
            part[:] = old_parts[name]
            continue
        for number, task in enumerate(plan.tasks):
            if task.name not in kept:
                continue
            was = before.tasks[kept[task.name]]
            if (was.kind, was.classes) != (task.kind, task.classes):
                raise PlanError(f"{source}: task {task.name!r} is another kind there; give the new one another name.")
            if was.source != task.source:
                raise PlanError(
                    f"{source}: task {task.name!r} is learnt from {was.source!r} there and from {task.source!r} in the "
                    "plan; give the new one another name."
                )
            own = layout.task_of_output == number
            part[own] = old_parts[name][earlier.task_of_output == kept[task.name]]
    names = [task.name for task in plan.tasks]
    return StartingPoint(
        vector, model, tuple(name for name in names if name in kept), tuple(name for name in names if name not in kept)
    )
