"""Model files: safetensors bytes with the plan inside, so that a model carries its own contract. Never pickle."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.errors import ModelFileError
from common.model import Layout, Normaliser
from common.plan import Plan, plan_from_canonical
from common.sealed import is_sealed

_FORMAT = "consilium/model/1"


@dataclass(frozen=True)
class Adapted:
    """A task that a site added to a trained model.

    model: SHA-256 of the model file that it was added to; plan_hash: of the plan in it. encoder: "frozen", or "moved"
    together with the new head. labels: rows that the task was learnt from.
    """

    task: str
    model: str
    plan_hash: str
    encoder: str
    labels: int


@dataclass(frozen=True)
class ModelFile:
    """plan: the plan it was trained under, and the tasks added since. parameters: (D,) float32.

    left_out: tasks without a trained head. adapted: the tasks that were added, in order.
    """

    plan: Plan
    parameters: NDArray[np.float32]
    normaliser: Normaliser
    left_out: tuple[str, ...] = ()
    adapted: tuple[Adapted, ...] = ()

    def to_bytes(self) -> bytes:
        layout = Layout(self.plan)
        tensors = {name: np.ascontiguousarray(value) for name, value in layout.split(self.parameters).items()}
        tensors["normaliser"] = self.normaliser.to_vector()
        facts: dict[str, Any] = {
            "format": _FORMAT,
            "plan": self.plan.canonical.decode(),
            "plan_hash": self.plan.hash,
            "left_out": self.left_out,
        }
        if self.adapted:
            facts["adapted"] = [asdict(each) for each in self.adapted]
        # One entry: safetensors writes several in no fixed order, and equal models should be equal files.
        return bytes(save(tensors, metadata={"consilium": json.dumps(facts, sort_keys=True)}))

    @staticmethod
    def from_bytes(data: bytes, *, source: str) -> "ModelFile":
        """Raises ModelFileError, naming `source`, if the bytes are encrypted, damaged or no model of ours."""
        if is_sealed(data):
            raise ModelFileError(
                f"{source}: is encrypted, as a hospital keeps it, and opens there only: "
                "`consilium site model SITE --out FILE` takes it out."
            )
        try:
            tensors = load(data)
            facts = _facts(data)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ModelFileError(f"{source}: not a readable safetensors file; it may be cut off or damaged.") from None
        if facts.get("format") != _FORMAT or not _well_typed(facts):
            raise ModelFileError(f"{source}: not a Consilium model ({_FORMAT}); found {facts.get('format')!r}.")
        plan = plan_from_canonical(facts["plan"].encode(), source=source)
        if facts.get("plan_hash") != plan.hash or not set(facts["left_out"]) <= {task.name for task in plan.tasks}:
            raise ModelFileError(
                f"{source}: what the file says of its plan does not fit the plan inside; it was changed."
            )
        layout = Layout(plan)
        shapes = {segment.name: segment.shape for segment in layout.segments}
        shapes["normaliser"] = (Normaliser.size(plan),)
        for name, shape in shapes.items():
            if name not in tensors or tensors[name].shape != shape or tensors[name].dtype != np.float32:
                raise ModelFileError(
                    f"{source}: tensor {name!r} is not float32 of the shape {shape} that its plan calls for."
                )
            if not np.isfinite(tensors[name]).all():
                raise ModelFileError(f"{source}: tensor {name!r} holds NaN or infinite values; the model is of no use.")
        parameters = np.concatenate([tensors[segment.name].ravel() for segment in layout.segments])
        return ModelFile(
            plan,
            parameters.astype(np.float32),
            Normaliser.from_vector(tensors["normaliser"], plan),
            tuple(facts["left_out"]),
            tuple(Adapted(**each) for each in facts.get("adapted", ())),
        )


def untaught(plan: Plan, normaliser: Normaliser) -> tuple[str, ...]:
    """Tasks without a trained head in the model that all sites share: those left out, all where heads stay at sites."""
    available = zip(plan.tasks, normaliser.task_available, strict=True)
    return tuple(task.name for task, present in available if not present or plan.model.local)


def _facts(data: bytes) -> dict[str, Any]:
    """What stands beside the tensors: 8 bytes of length, then JSON with free-form strings (the safetensors format)."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(json.loads(header["__metadata__"].get("consilium", "{}")))


def _well_typed(facts: dict[str, Any]) -> bool:
    left_out = facts.get("left_out")
    listed = isinstance(left_out, list) and all(isinstance(name, str) for name in left_out)
    return listed and isinstance(facts.get("plan"), str) and _well_told(facts.get("adapted", []))


def _well_told(adapted: Any) -> bool:
    kinds = {"task": str, "model": str, "plan_hash": str, "encoder": str, "labels": int}
    return isinstance(adapted, list) and all(
        isinstance(each, dict)
        and each.keys() == kinds.keys()
        and all(isinstance(each[name], kind) for name, kind in kinds.items())
        for each in adapted
    )
