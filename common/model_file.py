"""Model files: safetensors bytes with the plan inside, so that a model carries its own contract. Never pickle."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.errors import ModelFileError
from common.model import Layout, Normaliser
from common.plan import Plan, plan_from_canonical

_FORMAT = "consilium/model/1"


@dataclass(frozen=True)
class ModelFile:
    """plan: the plan it was trained under. parameters: (D,) float32. left_out: tasks without a trained head."""

    plan: Plan
    parameters: NDArray[np.float32]
    normaliser: Normaliser
    left_out: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        layout = Layout(self.plan)
        tensors = {name: np.ascontiguousarray(value) for name, value in layout.split(self.parameters).items()}
        tensors["normaliser"] = self.normaliser.to_vector()
        metadata = {
            "format": _FORMAT,
            "plan": self.plan.canonical.decode(),
            "plan_hash": self.plan.hash,
            "left_out": json.dumps(self.left_out),
        }
        return bytes(save(tensors, metadata=metadata))

    @staticmethod
    def from_bytes(data: bytes, *, source: str) -> "ModelFile":
        """Raises ModelFileError, naming `source`, if the bytes are damaged or no model of ours."""
        try:
            tensors = load(data)
            metadata: dict[str, Any] = _metadata(data)
        except (SafetensorError, ValueError, KeyError, TypeError):
            raise ModelFileError(f"{source}: not a readable safetensors file; it may be cut off or damaged.") from None
        if metadata.get("format") != _FORMAT:
            raise ModelFileError(f"{source}: not a Consilium model ({_FORMAT}); found {metadata.get('format')!r}.")
        plan = plan_from_canonical(metadata["plan"].encode(), source=source)
        layout = Layout(plan)
        shapes = {segment.name: segment.shape for segment in layout.segments}
        shapes["normaliser"] = (Normaliser.size(plan),)
        for name, shape in shapes.items():
            if name not in tensors or tensors[name].shape != shape:
                raise ModelFileError(
                    f"{source}: tensor {name!r} does not have the shape {shape} that its plan calls for."
                )
        parameters = np.concatenate([tensors[segment.name].ravel() for segment in layout.segments])
        return ModelFile(
            plan,
            parameters.astype(np.float32),
            Normaliser.from_vector(tensors["normaliser"], plan),
            tuple(json.loads(metadata["left_out"])),
        )


def _metadata(data: bytes) -> dict[str, Any]:
    """The header's free-form strings: 8 bytes of length, then JSON (the safetensors format)."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(header["__metadata__"])
