"""A small real TLS server that wants a client certificate, as the gateway does, and answers what a test tells it to."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flwr.proto.fleet_pb2 import ActivateNodeResponse, PullMessagesResponse
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse

from common.network import certificates
from common.network.node_key import new_node_key

GOOD = {
    "activate-node": (200, ActivateNodeResponse(node_id=7).SerializeToString()),
    "send-node-heartbeat": (200, SendNodeHeartbeatResponse(success=True).SerializeToString()),
    "pull-messages": (200, PullMessagesResponse().SerializeToString()),
    "deactivate-node": (200, b""),
}


@dataclass
class Gatekeeper:
    """folder: authority.crt, and a hospital's node.key, tls.key, certificate.crt. seen: (site, path) of each request.

    answers: last part of the path -> status and body.
    """

    folder: Path
    port: int = 0
    seen: list[tuple[str, str]] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=lambda: dict(GOOD))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def asked(self, name: str) -> int:
        return sum(path == f"/v1/fleet/{name}" for _, path in self.seen)


@contextmanager
def gatekeeper(folder: Path, *, name: str = "127.0.0.1", ahead: timedelta = timedelta()) -> Iterator[Gatekeeper]:
    """name: that its certificate is for. ahead: of now, when that certificate was made."""
    now = datetime.now(UTC)
    authority_key, authority = certificates.new_authority("test", now=min(now, now + ahead))
    server_key, server = certificates.server_certificate(authority_key, authority, [name], now=now + ahead)
    key, (node, _) = certificates.new_key(), new_node_key()
    request = certificates.certificate_request("north", key)
    certificate = certificates.site_certificate(authority_key, authority, request, site="north", now=now)
    files = {"authority.crt": authority, "server.key": server_key, "server.crt": server, "tls.key": key}
    for name, data in (files | {"node.key": node, "certificate.crt": certificate}).items():
        (folder / name).write_bytes(data)
    keeper = Gatekeeper(folder)
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(keeper))
    http_server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "authority.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    http_server.socket = context.wrap_socket(http_server.socket, server_side=True, do_handshake_on_connect=False)
    keeper.port = http_server.server_address[1]
    threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield keeper
    finally:
        http_server.shutdown()
        http_server.server_close()


def _handler(keeper: Gatekeeper) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # a handshake that failed, or a client that was killed
                self.close_connection = True

        def do_POST(self) -> None:
            subject = dict(part[0] for part in self.connection.getpeercert()["subject"])
            keeper.seen.append((subject["commonName"], self.path))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = keeper.answers.get(self.path.rpartition("/")[2], (404, b""))
            self.send_response(status)
            self.send_header("Content-Type", "application/protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
