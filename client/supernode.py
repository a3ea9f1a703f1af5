"""`flower-supernode` that looks for the next message soon after the last: a secure round is three exchanges, not one.

Flower's own waits three seconds between two looks, which is most of a small round. This one does so only at rest: what
it asks of the coordinator while no run goes on stays the same.
"""

import sys
import time
from types import SimpleNamespace

from flwr.supercore.inflatable import inflatable_utils
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode

POLL_S, BUSY_S, IDLE_S = 0.2, 60.0, 3.0


class Pauses:
    """Flower's loop sleeps IDLE_S where nothing came, and less while it waits for an answer: then a run goes on."""

    def __init__(self) -> None:
        self._busy_until = 0.0

    def sleep(self, seconds: float) -> None:
        if seconds < IDLE_S:
            self._busy_until = time.monotonic() + BUSY_S
        time.sleep(min(seconds, POLL_S) if time.monotonic() < self._busy_until else seconds)


def main() -> None:
    """The command, with every argument of Flower's own."""
    start_client_internal.time = SimpleNamespace(**vars(time) | {"sleep": Pauses().sleep})
    inflatable_utils.pull_objects.__kwdefaults__["initial_backoff"] = 0.02
    sys.exit(flower_supernode())


if __name__ == "__main__":
    main()
