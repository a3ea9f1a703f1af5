"""Search in whole numbers for where a rising value passes a target, with few evaluations."""

from collections.abc import Callable
from math import isfinite


def first_above(value: Callable[[int], float], target: float, *, low: int, high: int) -> int:
    """The smallest integer at which `value`, which never falls, is above `target`.

    low, high: with value(low) <= target < value(high). False position in the form of Illinois (Dowell & Jarratt 1971),
    with a bisection after every two steps, so that it is never much slower than bisection alone.
    """
    below, above, step = value(low) - target, value(high) - target, 0
    while high - low > 1:
        step += 1
        share = 0.5 if step % 3 == 0 or not isfinite(above) else -below / (above - below)
        middle = min(max(low + round(share * (high - low)), low + 1), high - 1)
        found = value(middle) - target
        if found > 0.0:
            high, above, below = middle, found, below / 2.0
        else:
            low, below, above = middle, found, above / 2.0
    return high
