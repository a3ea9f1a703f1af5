"""The SuperLink's place-holder behind a gateway in tests: a small real TLS server that notes what comes."""

import contextlib
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 30.0


def until(done: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fails after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


@dataclass
class Arrived:
    """A request as the SuperLink's place-holder received it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


class Upstream:
    """A TLS server on loopback. It answers `answer`, and only while `open` is set."""

    def __init__(self, port: int = 0) -> None:
        self.arrived: list[Arrived] = []
        self.connections: list[socket.socket] = []
        self.answer = b"ok"
        self.open = threading.Event()
        self.open.set()
        self._running = False
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _handler(self), bind_and_activate=True)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def start(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # The handshake belongs into the connection's own thread, or one slow client would hold all others up.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._running = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.open.set()
        if self._running:
            self._running = False
            self._server.shutdown()
            self._server.server_close()
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not SSLSocket's, which its thread uses


def _handler(upstream: Upstream) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # an answer in one piece, or TCP waits for its first half to be acknowledged

        def handle(self) -> None:
            upstream.connections.append(self.connection)
            try:
                super().handle()
            except OSError:
                self.close_connection = True  # a handshake that failed, or nginx that ended

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream.arrived.append(Arrived(self.command, self.path, list(self.headers.items()), body))
            upstream.open.wait(DEADLINE_S)
            self.send_response(200)
            self.send_header("Content-Length", str(len(upstream.answer)))
            self.end_headers()
            self.wfile.write(upstream.answer)

        do_POST = do_GET = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _any

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
