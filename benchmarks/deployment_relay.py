"""A TCP relay that counts: what sites send to a port, and what comes back, with the moment of each piece.

It moves bytes in the kernel (splice), so that it costs little beside what it counts. TLS passes through unopened: its
records are counted, the headers of TCP are not.
"""

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass, field

_PIECE = 2**16
_ACCEPT_S = 0.2


@dataclass(frozen=True)
class Bytes:
    """up: from the sites. down: to them."""

    up: int
    down: int


@dataclass
class Relay:
    """Listens on a loopback port of its own, and passes on to `target`, a port on loopback."""

    target: int
    _moved: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: {"up": [], "down": []})
    _open: list["_Ends"] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_ACCEPT_S)
        self.port = int(self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def between(self, start_s: float, end_s: float) -> Bytes:
        """What passed between two moments of `time.time()`."""
        up, down = (sum(n for at, n in tuple(self._moved[way]) if start_s < at <= end_s) for way in ("up", "down"))
        return Bytes(up, down)

    def close(self) -> None:
        """Accept no more, and end what is open."""
        self._ended.set()
        self._accepting.join()
        self._listener.close()
        for ends in self._open:
            ends.cut()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                site, _ = self._listener.accept()
            except TimeoutError:
                continue
            site.setblocking(True)
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # not there yet; the site tries again
                site.close()
                continue
            ends = _Ends(site, server)
            self._open.append(ends)
            for way, source, sink in (("up", site, server), ("down", server, site)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass, args=(way, source, sink, ends), daemon=True).start()

    def _pass(self, way: str, source: socket.socket, sink: socket.socket, ends: "_Ends") -> None:
        out, into = os.pipe()
        try:
            while size := os.splice(source.fileno(), into, _PIECE):
                left = size
                while left:
                    left -= os.splice(out, sink.fileno(), left)
                self._moved[way].append((time.time(), size))
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # one side is gone: so is the connection
            ends.cut()
        finally:
            os.close(out)
            os.close(into)
            ends.done()


class _Ends:
    """Both sockets of a connection, closed when both directions have ended."""

    def __init__(self, *sockets: socket.socket) -> None:
        self._sockets, self._running, self._lock = sockets, 2, threading.Lock()

    def cut(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def done(self) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                for each in self._sockets:
                    each.close()
