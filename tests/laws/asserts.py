"""Laws, each written once. A new mechanism earns its place by passing those that exist."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.model import Layout
from common.model_file import ModelFile


def assert_clip_bounds_norm(clip: Callable[..., Any], update: np.ndarray, clip_norm: float) -> None:
    """The norm never exceeds the bound, the direction stays, and what is short enough is untouched."""
    clipped, before, after = clip(update, clip_norm=clip_norm)
    exact = np.linalg.norm(clipped.astype(np.float64))
    assert exact <= clip_norm
    assert np.isclose(after, exact) and np.isclose(before, np.linalg.norm(update.astype(np.float64)))
    if before <= clip_norm:
        assert np.array_equal(clipped, update)
    else:
        assert np.allclose(clipped * (before / clip_norm), update, rtol=1e-4, atol=1e-6 * before)


def assert_merge_is_associative(vectors: Sequence[np.ndarray]) -> None:
    """Counts are integers in float64, so any grouping gives the same bits; sums of scores agree to rounding."""
    first, second, third = vectors
    assert np.allclose((first + second) + third, first + (second + third), rtol=1e-12)


def assert_same_model(first: Path, second: Path) -> None:
    """Two model files hold the same bits."""
    one, two = (ModelFile.from_bytes(path.read_bytes(), source=str(path)) for path in (first, second))
    assert np.array_equal(one.parameters, two.parameters)
    assert np.array_equal(one.normaliser.to_vector(), two.normaliser.to_vector())


def assert_order_of_sites_is_irrelevant(run: Callable[[Iterable[int]], Path], orders: Iterable[Sequence[int]]) -> None:
    """`run(order)` gives a model file; all of them hold the same bits."""
    first, *others = [run(order) for order in orders]
    for other in others:
        assert_same_model(first, other)


def assert_head_is_unchanged(layout: Layout, task: str, before: np.ndarray, after: np.ndarray) -> None:
    """Every bit of the task's head and linear path is what it was, and something else did move."""
    block = layout.block_names.index(f"task:{task}")
    own = layout.block_of == block
    assert own.any()
    assert before[own].tobytes() == after[own].tobytes()
    assert not np.array_equal(before[~own], after[~own])


def assert_roundtrip(value: Any, write: Callable[[Any], bytes], read: Callable[[bytes], Any]) -> None:
    """Reading what was written and writing it again gives the same bytes."""
    data = write(value)
    assert write(read(data)) == data


def last_line_is_json(path: Path) -> dict[str, Any]:
    """The last entry of a JSON-lines file; fails if any line is torn."""
    return [json.loads(line) for line in path.read_text().splitlines()][-1]
