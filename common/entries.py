"""What the entries of a vector mean, and which block of the plan each belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Entries:
    """`size` neighbouring entries: what they hold, and their block, by its name in `Layout.block_names`.

    A site that does not hold the block has zeros there.
    """

    meaning: str
    block: str
    size: int = 1


def block_index(entries: Sequence[Entries], block_names: Sequence[str]) -> NDArray[np.int64]:
    """(sum of the sizes,) index into `block_names` of each entry."""
    index = {name: number for number, name in enumerate(block_names)}
    numbers = np.array([index[each.block] for each in entries], dtype=np.int64)
    return np.repeat(numbers, [each.size for each in entries])
