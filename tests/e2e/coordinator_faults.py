"""Cells of the fault table: what a person or systemd started at the coordinator is killed, and started again."""

import os
import signal

from tests.e2e.deployed import wait_until
from tests.e2e.faults import STRUCK_ROUND, WAIT_S, Play
from tests.e2e.network import Network


def serve_killed(play: Play) -> None:
    """`kill -9` of `consilium server serve`, with which its processes end; then the same command."""
    before = _struck(play, "serve")
    Network.serve(play.network)  # the wires are still there
    play.wait_for_another(before)
    play.ends()


def run_killed(play: Play) -> None:
    """`kill -9` of `consilium server run`, whose app goes on; then the same command, which follows it."""
    before = _struck(play, "run")
    play.begin()
    play.wait_for_another(before)
    play.ends()


def _struck(play: Play, command: str) -> int:
    """Kills it in the second round; gives the rounds that were finished before."""
    play.begin()
    play.wait_for_rounds(STRUCK_ROUND)
    before, pid = play.strike(), play.network.pids[command]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: play.network.ended(command), f"the end of {command}", WAIT_S)
    return before
