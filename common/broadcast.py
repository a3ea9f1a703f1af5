"""What the coordinator sends: parameters, normaliser and histogram edges as ONE flat float32 array.

Flower's cost is per array and node, so a message never carries two.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.model import Layout, Normaliser

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Broadcast:
    """parameters: (D,). normaliser: the survey's result. edges: (columns, bins - 1) of the score histograms."""

    parameters: Float32
    normaliser: Normaliser
    edges: Float32

    def to_vector(self) -> Float32:
        return np.concatenate([self.parameters, self.normaliser.to_vector(), self.edges.ravel()]).astype(np.float32)

    @staticmethod
    def from_vector(vector: Float32, layout: Layout, *, columns: int, bins: int) -> "Broadcast":
        """Raises ValueError if the length is not the one that plan, columns and bins call for."""
        sizes = [layout.parameters, Normaliser.size(layout.plan), columns * (bins - 1)]
        if vector.shape != (sum(sizes),):
            raise ValueError(f"a broadcast of {vector.shape} values; the plan calls for ({sum(sizes)},)")
        parameters, normaliser, edges = np.split(np.asarray(vector, dtype=np.float32), np.cumsum(sizes)[:-1])
        return Broadcast(parameters, Normaliser.from_vector(normaliser, layout.plan), edges.reshape(columns, bins - 1))
