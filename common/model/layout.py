"""Named tensors <-> one flat vector, and the blocks in which sites are averaged.

A block is a group of entries that a site either fills or cannot fill: the shared encoder, one task's head with its
linear path, the encoders' input columns of one feature, or a task's terms of the per-site mean. Each site declares a
weight level for each block. The linear path from a feature to a task needs two of them: where too few sites hold both,
nobody learns it.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.model.code import Columns
from common.model.sequence import SEQUENCE_INPUT, feature_of_input, sequence_shapes
from common.plan import Plan

LEVELS = (0.0, 1 / 8, 1 / 4, 1 / 2, 1.0)

Index = NDArray[np.signedinteger[Any]]
"""Of the smallest integers that hold it: there is one for each parameter."""


@dataclass(frozen=True)
class Segment:
    """One named tensor and where it lies in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        return self.start + int(np.prod(self.shape))


@dataclass(frozen=True)
class Layout:
    """Everything that follows from a plan alone about the flat parameter vector (D,)."""

    plan: Plan

    @cached_property
    def columns(self) -> Columns:
        return Columns.of(self.plan)

    @cached_property
    def outputs(self) -> int:
        return sum(task.outputs for task in self.plan.tasks)

    @cached_property
    def task_of_output(self) -> NDArray[np.int64]:
        """(outputs,) index of the task behind each output column."""
        return np.repeat(np.arange(len(self.plan.tasks)), [task.outputs for task in self.plan.tasks])

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        widths = (self.columns.inputs, *self.plan.model.hidden)
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for depth, (inside, outside) in enumerate(pairwise(widths)):
            shapes += [(f"encoder.{depth}.weight", (outside, inside)), (f"encoder.{depth}.bias", (outside,))]
        seen = widths[-1]
        if self.plan.sequence is not None:
            shapes += sequence_shapes(self.plan.model, len(self.columns.feature_of_hour))
            seen += self.plan.model.width
        shapes += [("heads.weight", (self.outputs, seen)), ("heads.bias", (self.outputs,))]
        if self.plan.model.linear_path:
            shapes.append(("linear.weight", (self.outputs, self.columns.inputs)))
        result, start = [], 0
        for name, shape in shapes:
            result.append(Segment(name, shape, start))
            start = result[-1].stop
        return tuple(result)

    @property
    def parameters(self) -> int:
        """D, the length of the flat vector."""
        return self.segments[-1].stop

    @cached_property
    def block_names(self) -> tuple[str, ...]:
        tasks = [task.name for task in self.plan.tasks]
        inputs = [f"input:{feature.name}" for feature in self.plan.inputs]
        return ("shared", *(f"task:{name}" for name in tasks), *inputs, *(f"mean:{name}" for name in tasks))

    def taking_part(self, tasks: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(blocks,) 1 or 0 for each block. tasks: (T,), features: (F + S,), above 0 for those that take part."""
        return np.concatenate([[1.0], tasks > 0, features > 0, tasks > 0])

    @cached_property
    def block_of(self) -> Index:
        """(D,) index into `block_names` of each parameter."""
        first_input_block = 1 + len(self.plan.tasks)
        result = np.zeros(self.parameters, dtype=_integers(len(self.block_names)))
        for segment in self.segments:
            part = result[segment.start : segment.stop].reshape(segment.shape)  # a view
            if segment.name == "encoder.0.weight":
                part[:] = first_input_block + self.columns.feature_of
            elif segment.name == SEQUENCE_INPUT:
                part[:] = first_input_block + feature_of_input(self.plan.model, self.columns.feature_of_hour)
            elif segment.name.startswith(("heads.", "linear.")):
                part[:] = (1 + self.task_of_output).reshape(-1, *[1] * (part.ndim - 1))
        return result

    @cached_property
    def paired(self) -> tuple[slice, NDArray[np.int64]]:
        """Where the parameters lie that need a pair of blocks, and the code of each one's pair; all others need one.

        Code: first block * number of blocks + second, the first being the lower index.
        """
        for segment in self.segments:
            if segment.name == "linear.weight":
                features = 1 + len(self.plan.tasks) + self.columns.feature_of
                codes = (1 + self.task_of_output)[:, None] * len(self.block_names) + features
                return slice(segment.start, segment.stop), codes.reshape(-1)
        return slice(0, 0), np.zeros(0, dtype=np.int64)

    @cached_property
    def output_of(self) -> Index:
        """(D,) output column whose row holds each parameter, -1 for the encoder."""
        result = np.full(self.parameters, -1, dtype=_integers(self.outputs))
        for segment in self.segments:
            if segment.name.startswith(("heads.", "linear.")):
                part = result[segment.start : segment.stop].reshape(segment.shape)
                part[:] = np.arange(self.outputs).reshape(-1, *[1] * (part.ndim - 1))
        return result

    @cached_property
    def local(self) -> NDArray[np.bool_]:
        """(D,) the parameters that each site trains for itself and keeps."""
        result = np.zeros(self.parameters, dtype=np.bool_)
        for segment in self.segments:
            result[segment.start : segment.stop] = segment.name.split(".")[0] in self.plan.model.local
        return result

    def split(self, vector: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Named views into `vector`, (D,)."""
        return {s.name: vector[s.start : s.stop].reshape(s.shape) for s in self.segments}


@lru_cache(maxsize=1)
def layout_of(plan: Plan) -> Layout:
    """The layout of the plan that this process works under: its indices are as long as the model."""
    return Layout(plan)


def _integers(count: int) -> type[np.signedinteger[Any]]:
    return np.int16 if count < 2**15 else np.int32


def weight_level(rows: int, *, row_cap: int) -> float:
    """A site's weight for a block: sqrt(rows / row_cap), at most 1, rounded in ratio to one of `LEVELS`."""
    if rows <= 0:
        return 0.0
    exact = np.log2(min(1.0, np.sqrt(rows / row_cap)))
    return float(2.0 ** max(-3, round(float(exact))))
