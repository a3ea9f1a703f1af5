"""What the deployment benchmark counts with: the relay to the coordinator, rounds, memory, processor time."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.deployment_block import processor_seconds, resident_mb, watch
from benchmarks.deployment_ours import plan_of
from benchmarks.deployment_relay import Relay
from common.model import Layout

DEADLINE_S = 30.0


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back twice what it gets, once the other side has ended."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as read:
                connection.sendall(2 * read.read())

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def _through(port: int, content: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as read:
            return read.read()


def test_the_relay_changes_nothing_and_counts_each_way_between_two_moments(echo: int) -> None:
    relay = Relay(echo)
    before = time.time()
    content = os.urandom(300_000)
    assert _through(relay.port, content) == 2 * content
    between = time.time()
    assert _through(relay.port, b"more") == b"moremore"
    after = time.time()
    relay.close()
    first, second = relay.between(before, between), relay.between(between, after)
    assert (first.up, first.down) == (300_000, 600_000)
    assert (second.up, second.down) == (4, 8)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", relay.port), timeout=DEADLINE_S)


def test_a_connection_to_nobody_ends_and_the_relay_goes_on(echo: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        relay = Relay(free.getsockname()[1])
    assert _through_or_cut(relay.port) == b""
    relay.target = echo
    assert _through(relay.port, b"now") == b"nownow"
    relay.close()


def _through_or_cut(port: int) -> bytes:
    try:
        return _through(port, b"nobody is there")
    except OSError as error:
        assert not isinstance(error, TimeoutError), "a connection to nobody stays open"
        return b""


def test_the_first_round_is_not_counted(echo: int) -> None:
    relay = Relay(echo)
    count = 0

    def ended() -> int:
        """Each look finds one round more, in which 3 kB went up."""
        nonlocal count
        count += 1
        _through(relay.port, b"x" * 3000)
        return count - 1

    counted = watch(ended, 4, relay, lambda: [os.getpid()])
    relay.close()
    assert len(counted.seconds) == 4 and min(counted.seconds) > 0
    assert counted.median_s <= max(counted.seconds)
    assert (counted.passed.up, counted.passed.down) == (1000, 2000)  # of one of three sites
    assert counted.processor_s > 0


def test_memory_and_processor_time_are_those_of_a_process_and_all_that_it_started() -> None:
    program = (
        "import sys; held = b'x' * 50_000_000; sum(range(3_000_000)); print('ready', flush=True); sys.stdin.read()"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], check=True)"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None and started.stdin is not None
        assert started.stdout.readline() == b"ready\n"
        held = resident_mb(started.pid)
        used = processor_seconds([started.pid])
        started.stdin.close()
    assert len(held) == 2 and 60 < sum(held.values()) < 200
    assert used > 0 and resident_mb(started.pid) == {} and processor_seconds([started.pid]) == 0


@pytest.mark.parametrize("parameters", [1_000, 1_000_000, 10_000_000])
def test_a_plan_of_about_so_many_parameters(parameters: int) -> None:
    assert parameters <= Layout(plan_of(parameters, secure=True, rounds=3, seed=1)).parameters < 1.03 * parameters
