"""A wire that is cut holds what is sent, tells nobody, and delivers it once mended; and the table of the cells."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fault_table import COLUMNS, main
from tests.e2e.processes import free_ports
from tests.e2e.relay import Relay

QUIET_S, ANSWER_S = 0.3, 10.0


@pytest.fixture
def wire() -> Iterator[tuple[Relay, int]]:
    """A relay before something that sends back what it gets, and the port to dial."""
    (port,) = free_ports(1)
    echo = socket.create_server(("127.0.0.2", port))

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1024):
                connection.sendall(data)

    def serve() -> None:
        while True:
            try:
                connection, _ = echo.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    relay = Relay(("127.0.0.1", port), ("127.0.0.2", port))
    yield relay, port
    relay.close()
    echo.shutdown(socket.SHUT_RDWR)
    echo.close()


def _dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)


def _asks(connection: socket.socket, word: bytes) -> bytes:
    connection.sendall(word)
    connection.settimeout(ANSWER_S)
    return connection.recv(1024)


def _hears_nothing(connection: socket.socket) -> None:
    connection.settimeout(QUIET_S)
    with pytest.raises(TimeoutError):
        connection.recv(1024)


def test_a_cut_holds_old_and_new_connections_and_a_mended_wire_delivers(wire: tuple[Relay, int]) -> None:
    relay, port = wire
    with _dial(port) as old:
        assert _asks(old, b"before") == b"before"
        relay.cut()
        with _dial(port) as new:
            for connection in (old, new):
                connection.sendall(b"held")
                _hears_nothing(connection)
            relay.mend()
            for connection in (old, new):
                connection.settimeout(ANSWER_S)
                assert connection.recv(1024) == b"held"


def test_only_connections_of_the_named_processes_are_cut(wire: tuple[Relay, int]) -> None:
    relay, port = wire
    with _dial(port) as connection:
        relay.cut(lambda: {os.getppid()})
        assert _asks(connection, b"another's") == b"another's"
        relay.cut(lambda: {os.getpid()})
        connection.sendall(b"ours")
        _hears_nothing(connection)


def test_where_nobody_listens_behind_it_the_connection_ends() -> None:
    (port,) = free_ports(1)
    relay = Relay(("127.0.0.1", port), ("127.0.0.2", port))
    with _dial(port) as connection:
        assert connection.recv(1024) == b""
    relay.close()


def test_the_table_has_a_row_for_each_cell_and_the_last_file_counts(tmp_path: Path) -> None:
    case = '<testcase name="test_a_fault_loses_nothing[{cell}]">{content}</testcase>'
    told = '<properties><property name="told" value="a | b" /></properties>'
    cells = [("one", "<failure />"), ("two", told + "<skipped />"), ("one", told)]
    for number, (cell, content) in enumerate(cells):
        text = f"<testsuites><testsuite>{case.format(cell=cell, content=content)}</testsuite></testsuites>"
        (tmp_path / f"{number}.xml").write_text(text)
    out = tmp_path / "faults.md"
    assert main(str(out), "abc", *(str(tmp_path / f"{number}.xml") for number in range(3))) == 0
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.read_text().splitlines()[2:]]
    assert rows[0] == list(COLUMNS)
    assert [(row[0], row[1], row[-1]) for row in rows[2:]] == [("one", "passed", "a / b"), ("two", "skipped", "a / b")]
