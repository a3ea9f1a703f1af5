"""A wire that can be cut: TCP is passed on between two addresses on this machine, and held where somebody cuts it.

A cut closes nothing: neither side hears of it, as when a cable is pulled. Once mended, what was held arrives.
"""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 16
Owners = Callable[[], Iterable[int]]
"""Processes whose connections are cut, asked again for each new connection."""


@dataclass(frozen=True)
class _Wire:
    """One connection: who dialled, the two sockets, and whether bytes pass."""

    port: int
    near: socket.socket
    far: socket.socket
    whole: threading.Event

    def carry(self) -> None:
        """Pass bytes on, both ways, until both ends are closed."""
        back = threading.Thread(target=self._pass, args=(self.far, self.near), daemon=True)
        back.start()
        self._pass(self.near, self.far)
        back.join()
        self.near.close()
        self.far.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        data = b"."
        while data:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            self.whole.wait()
            try:
                target.sendall(data) if data else target.shutdown(socket.SHUT_WR)
            except OSError:  # the other end is gone: this one hears of it
                with contextlib.suppress(OSError):
                    source.shutdown(socket.SHUT_RDWR)
                return


class Relay:
    """Listens on `near` and passes on to `far`; both are (address, port). Whole until it is cut."""

    def __init__(self, near: tuple[str, int], far: tuple[str, int]) -> None:
        self._far, self._wires, self._lock = far, list[_Wire](), threading.Lock()
        self._cut: Callable[[int], bool] = lambda port: False
        self._listener = socket.create_server(near, backlog=64)
        threading.Thread(target=self._listen, daemon=True).start()

    def cut(self, owners: Owners | None = None) -> None:
        """From now on nothing passes on the connections of these processes; without `owners`, on none."""
        with self._lock:
            self._cut = (lambda port: True) if owners is None else (lambda port: port in _ports_of(owners()))
            for wire in self._wires:
                if self._cut(wire.port):
                    wire.whole.clear()

    def mend(self) -> None:
        with self._lock:
            self._cut = lambda port: False
            for wire in self._wires:
                wire.whole.set()

    def close(self) -> None:
        self.mend()
        with self._lock:
            for end in (self._listener, *(end for wire in self._wires for end in (wire.near, wire.far))):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, (_, port) = self._listener.accept()
                threading.Thread(target=self._carry, args=(near, port), daemon=True).start()

    def _carry(self, near: socket.socket, port: int) -> None:
        whole = threading.Event()
        with self._lock:
            if not self._cut(port):
                whole.set()
            wire = _Wire(port, near, socket.socket(), whole)
            self._wires.append(wire)
        try:
            whole.wait()
            wire.far.connect(self._far)
            wire.carry()
        except OSError:  # nobody listens there: whoever dialled is cut off at once
            near.close()
        finally:
            with self._lock:
                self._wires.remove(wire)


def _ports_of(processes: Iterable[int]) -> set[int]:
    """Local ports of the TCP connections that these processes hold."""
    held = set()
    for process in processes:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{process}/fd"):
                with contextlib.suppress(OSError):
                    held.update(re.findall(r"^socket:\[(\d+)\]$", os.readlink(f"/proc/{process}/fd/{name}")))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[9] in held}
