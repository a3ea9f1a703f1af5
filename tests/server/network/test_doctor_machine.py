"""What `consilium server doctor` says of the machine: ports, clock, disk, programs."""

import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from server.network import doctor_machine
from tests.server.network.conftest import NAMES, Command, doctor, found, now


@contextmanager
def _listening(port: int, context: ssl.SSLContext | None) -> Iterator[None]:
    """A server on this port that speaks TLS with `context`, or closes every connection without a word."""
    with socket.create_server(("127.0.0.1", port)) as server:
        ended = threading.Event()

        def answer() -> None:
            while not ended.is_set():
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                with one:
                    if context is not None:
                        with suppress(OSError):
                            context.wrap_socket(one, server_side=True).close()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_ports_that_are_ours_and_ports_that_are_not(consilium: Command) -> None:
    found(consilium, *NAMES)
    port = _free_port()
    path = Path("home/coordinator.toml")
    path.write_text(path.read_text().replace("19443", str(port)))
    consilium("server", "enrol", "home")
    with _listening(port, None):
        doctor(consilium, "error", f"port {port} of 127.0.0.1 (gateway): another program has it")
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain("home/certificates/gateway.crt", "home/keys/gateway.key")
    with _listening(port, ours):
        doctor(consilium, "ok", f"port {port} of 127.0.0.1 (gateway): this folder's gateway is running")
        consilium("server", "renew", "home")
        doctor(consilium, "warning", "runs with an earlier certificate; restart")
        consilium("server", "renew", "home", "--authority")
        doctor(consilium, "error", "with a certificate that is no good now")


def test_an_address_that_is_not_of_this_machine(consilium: Command) -> None:
    found(consilium, *NAMES)
    path = Path("home/coordinator.toml")
    path.write_text(path.read_text().replace('listen = "127.0.0.1', 'listen = "192.0.2.1'))
    doctor(consilium, "error", "192.0.2.1 is no address of this machine")


def test_a_clock_that_went_back(consilium: Command) -> None:
    found(consilium, *NAMES)
    ahead = now().timestamp() + 3600
    os.utime("home/plan.json", (ahead, ahead))
    doctor(consilium, "error", "but a file in")


def test_programs_that_are_missing(consilium: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found(consilium, *NAMES)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    said = doctor(consilium, "error", "nginx: neither on PATH")
    assert "port 19443" in said  # the other checks were made
    monkeypatch.undo()


@pytest.mark.parametrize(("free", "level"), [(10**8, "error"), (3 * 10**9, "warning")])
def test_a_disk_that_is_nearly_full(free: int, level: str, consilium: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found(consilium, *NAMES)
    monkeypatch.setattr(doctor_machine, "DISK_ERROR", 10**9)
    used = shutil.disk_usage(".")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: used)
    doctor(consilium, level, "GB free; the journals")
