"""The SuperNode's pauses, and the two places in Flower that they are put into: a release that moves them fails here."""

import inspect
import os
import select
import time

import pytest
from flwr.supercore.inflatable import inflatable_utils
from flwr.supernode import start_client_internal

from client import supernode
from client.supernode import ANSWER_S, BUSY_S, IDLE_S, POLL_S, Pauses


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept; the clock goes on by as much."""
    slept: list[float] = []
    monkeypatch.setattr(supernode.time, "sleep", slept.append)
    monkeypatch.setattr(supernode.time, "monotonic", lambda: 1000.0 + sum(slept))
    return slept


def test_looks_seldom_at_rest_and_soon_while_a_run_goes_on(slept: list[float]) -> None:
    pauses = Pauses()
    pauses.sleep(IDLE_S)
    pauses.sleep(0.5)  # Flower waits for the runner's answer: a run goes on
    pauses.sleep(IDLE_S)
    assert slept == [IDLE_S, ANSWER_S, POLL_S]
    for _ in range(round(BUSY_S / POLL_S)):
        pauses.sleep(IDLE_S)
    pauses.sleep(IDLE_S)
    assert slept[-1] == IDLE_S


def test_the_runner_hears_of_each_message_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = iter([None, 7, None, 7, *(7,) * 100_000])
    monkeypatch.setattr(start_client_internal, "_pull_and_store_message", lambda **functions: next(runs))
    told, tell = os.pipe()
    supernode.tell_of_tasks(tell)
    heard = []
    for _ in range(4):
        heard.append((start_client_internal._pull_and_store_message(), bool(select.select([told], [], [], 0)[0])))
        if heard[-1][1]:
            os.read(told, 4096)
    assert heard == [(None, False), (7, True), (None, False), (7, True)]
    for _ in range(100_000):  # more than a pipe holds: one who is busy is not waited for
        start_client_internal._pull_and_store_message()
    os.close(told)
    runs = iter([7])
    assert start_client_internal._pull_and_store_message() == 7  # nor one who has ended
    os.close(tell)


def test_flower_sleeps_where_this_expects_it() -> None:
    assert start_client_internal.time is time
    assert f"time.sleep({IDLE_S:g})" in inspect.getsource(start_client_internal)
    assert "initial_backoff" in inflatable_utils.pull_objects.__kwdefaults__
