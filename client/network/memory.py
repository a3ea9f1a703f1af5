"""Memory that a round has freed goes back to the machine once there is rest.

The C library keeps what it was given, for the next time: after a round of a large model hundreds of MB in each of a
hospital's processes. It hands that out again when asked, which takes some milliseconds. What an HTTP server has read
lies in cycles, which Python frees when it comes to it: with nothing to do, not for hours.
"""

import ctypes
import gc
import time

REST_S = 2.0
_MOST_ARENAS = -8  # M_ARENA_MAX of malloc.h
_library = ctypes.CDLL(None)


class Spare:
    """Freed memory of this process. Where the C library is none that can be asked, nothing happens."""

    def __init__(self) -> None:
        self._used_s: float | None = time.monotonic()

    def used(self) -> None:
        """Work was done just now."""
        self._used_s = time.monotonic()

    def rest(self) -> bool:
        """Nothing is to be done just now. Whether memory was given back: once, REST_S seconds after the last work."""
        if self._used_s is None or time.monotonic() - self._used_s < REST_S:
            return False
        self._used_s = None
        gc.collect()
        give_back = getattr(_library, "malloc_trim", None)
        return give_back is not None and bool(give_back(0))


def share_one_heap() -> None:
    """Once, before other threads start: each would keep a heap of its own, with holes of its own."""
    limit = getattr(_library, "mallopt", None)
    if limit is not None:
        limit(_MOST_ARENAS, 1)
