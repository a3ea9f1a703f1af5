"""A process gives back what it has freed, once and only at rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from client.network import memory
from client.network.memory import REST_S, Spare
from tests.server.clock import Clock

PROGRAM = """
import time
from client.network import memory

memory.REST_S = 0.0
resident = lambda: int(open("/proc/self/statm").read().split()[1])
spare = memory.Spare()
held = [bytes(60_000) for _ in range(2_000)]  # 120 MB, each piece too small for a mapping of its own
held.append(held)  # a cycle: Python frees it when it comes to it
last = bytes(60_000)  # keeps the heap from shrinking by itself
del held
freed = resident()
print(freed, spare.rest(), resident())
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(memory, "time", clock)
    return clock


def test_once_after_each_piece_of_work_and_not_before_there_is_rest(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Library:
        @staticmethod
        def malloc_trim(pad: int) -> int:
            asked.append(pad)
            return 1

    monkeypatch.setattr(memory, "_library", Library)
    spare = Spare()
    found = []
    for after_s in (0.0, 0.5 * REST_S, 0.6 * REST_S, 10.0):
        clock.sleep(after_s)
        found.append(spare.rest())
    spare.used()
    found += [spare.rest()]
    clock.sleep(REST_S)
    found += [spare.rest(), spare.rest()]
    assert found == [False, False, True, False, False, True, False] and asked == [0, 0]


def test_nothing_happens_where_the_library_cannot_be_asked(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_library", object())
    spare = Spare()
    clock.sleep(REST_S)
    assert spare.rest() is False
    memory.share_one_heap()


@pytest.mark.skipif(not hasattr(memory._library, "malloc_trim"), reason="a C library that keeps what it has")
def test_what_was_freed_is_the_machines_again() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True)
    before, gave, after = done.stdout.split()
    assert gave == "True" and (int(before) - int(after)) * os.sysconf("SC_PAGE_SIZE") > 80e6
