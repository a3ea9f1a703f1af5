"""`flower-supernode` for a hospital: mutual TLS, short pauses while a run goes on, an end where Flower's would hang.

    python -m client.supernode [--client-certificate FILE --client-key FILE] [--state FOLDER] [--tell DESCRIPTOR]
        FLOWER'S OWN ARGUMENTS

Flower's own waits three seconds between two looks, which is most of a small round: a secure round is three exchanges,
not one. This one does so only at rest: what it asks of the coordinator while no run goes on stays the same.
"""

import argparse
import contextlib
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.network.contact import Contact, of_error, of_response, write_contact
from client.network.ended_runs import drop_tasks_of_ended_runs
from client.network.lost_answers import go_on_after_refused_pieces
from client.network.memory import Spare, share_one_heap
from common.errors import ConsiliumError

ANSWER_S, POLL_S, BUSY_S, IDLE_S = 0.02, 0.2, 60.0, 3.0
NOTE_S, TICK_S, SILENT_TICKS = 5.0, 10.0, 18
HEARTBEAT = "/v1/fleet/send-node-heartbeat"


class Pauses:
    """Flower's loop sleeps IDLE_S where nothing came, and less while it waits for an answer: then a run goes on.

    The answer comes from this machine: to look for it often costs nobody a request.
    """

    def __init__(self) -> None:
        self._busy_until = 0.0
        self._spare = Spare()

    def sleep(self, seconds: float) -> None:
        now = time.monotonic()
        if seconds < IDLE_S:
            self._busy_until = now + BUSY_S
            self._spare.used()
            time.sleep(min(seconds, ANSWER_S))
        else:
            self._spare.rest()
            time.sleep(min(seconds, POLL_S) if now < self._busy_until else seconds)


class Notes:
    """Writes down how the last exchange with the coordinator went, and counts the heartbeats that were tried.

    An interceptor of Flower's clients. state: a folder; None: nothing is written.
    """

    def __init__(self, state: Path | None) -> None:
        self._state, self._written, self._last, self._lock = state, -NOTE_S, "", threading.Lock()
        self.heartbeats = 0

    def intercept(self, context: Any, call_next: Any) -> httpx.Response:
        self.heartbeats += context.request.url.path == HEARTBEAT
        try:
            response: httpx.Response = call_next(context)
        except httpx.TransportError as error:
            self._note(of_error(error, now=datetime.now(UTC)))
            if _cut_short(error):
                raise httpx.ConnectError("the other side was gone before the handshake ended") from error
            raise
        self._note(of_response(response, now=datetime.now(UTC)))
        return response

    def _note(self, contact: Contact) -> None:
        with self._lock:
            now = time.monotonic()
            if self._state is None or (contact.code == self._last and now < self._written + NOTE_S):
                return
            self._written, self._last = now, contact.code
            try:
                write_contact(self._state, contact)
            except ConsiliumError as error:  # a full disk must not cut the connection
                print(error, file=sys.stderr)


def _cut_short(error: BaseException | None) -> bool:
    """Whether a handshake ended without a word, as when a gateway is killed or a proxy has nobody behind it.

    Flower ends for good at whatever has `SSL` in its text: that is for a certificate that is wrong.
    """
    while error is not None and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        error = error.__cause__ or error.__context__
    return error is not None


def tls(authority: bytes | str, certificate: str, key: str) -> ssl.SSLContext:
    """Trusts this authority and no other, and shows this certificate. authority: PEM, or a file; the others: files."""
    source = {"cafile": authority} if isinstance(authority, str) else {"cadata": authority.decode("ascii")}
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, **source)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def mutual_client(certificate: str, key: str, notes: Notes) -> Any:
    """What replaces `FleetHttpClient.from_server_address`: Flower has no argument for a client's certificate."""

    def from_server_address(
        server_address: str,
        insecure: bool,
        root_certificates: bytes | str | None,
        interceptors: Sequence[Any],
        *,
        retry_invoker: Any = None,
    ) -> FleetHttpClient:
        if insecure or root_certificates is None:
            raise ValueError("a client certificate needs TLS and --root-certificates")
        return FleetHttpClient(
            f"https://{server_address}",
            interceptors=[*interceptors, notes],
            verify=tls(root_certificates, certificate, key),
            retry_invoker=retry_invoker,
        )

    return from_server_address


def probe(address: str, *, authority: bytes, certificate: str, key: str, node_key: bytes) -> Contact:
    """Ask the coordinator once, as this hospital's node, and change nothing there: with an interval that it refuses."""
    node = load_ssh_private_key(node_key, None)
    signer = NodeAuthHttpInterceptor(node, node.public_key())  # type: ignore[arg-type]
    notes = _Kept()
    client = mutual_client(certificate, key, notes)(
        address, False, authority, [RuntimeVersionHttpInterceptor(component_name="SuperNode"), signer]
    )
    public = public_key_to_bytes(node.public_key())  # type: ignore[arg-type]
    try:
        client.ActivateNode(ActivateNodeRequest(public_key=public, heartbeat_interval=0))
    except httpx.HTTPError:
        pass
    finally:
        client.close()
    return notes.kept


class _Kept(Notes):
    kept: Contact

    def __init__(self) -> None:
        super().__init__(None)

    def _note(self, contact: Contact) -> None:
        self.kept = contact


def tell_of_tasks(descriptor: int) -> None:
    """From now on the runner hears of each task once all of its message is here: it need not ask all the time."""
    whole = start_client_internal._pull_and_store_message
    os.set_blocking(descriptor, False)

    def pull_and_store(**functions: Any) -> int | None:
        run: int | None = whole(**functions)
        if run is not None:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):  # it has been told often enough, or has ended
                os.write(descriptor, b".")
        return run

    start_client_internal._pull_and_store_message = pull_and_store


def _end_if_silent(notes: Notes) -> None:
    """End the process where its heartbeats have stopped for three minutes: it would poll on and never be online.

    Counted in ticks: after a pause of the whole machine nothing has to end.
    """
    last, silent = 0, 0
    while silent < SILENT_TICKS:
        time.sleep(TICK_S)
        now = notes.heartbeats
        silent = 0 if now != last or now == 0 else silent + 1
        last = now
    print("SuperNode: no heartbeat was sent for three minutes; it ends to be started again.", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(TICK_S)
    os._exit(1)


def main() -> None:
    """The command, with every argument of Flower's own and the ones above."""
    parser = argparse.ArgumentParser(prog="python -m client.supernode", add_help=False, allow_abbrev=False)
    parser.add_argument("--client-certificate")
    parser.add_argument("--client-key")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--tell", type=int)
    own, sys.argv[1:] = parser.parse_known_args()
    share_one_heap()
    if own.client_certificate is not None:
        notes = Notes(own.state)
        replacement = mutual_client(own.client_certificate, own.client_key, notes)
        FleetHttpClient.from_server_address = staticmethod(replacement)
        threading.Thread(target=_end_if_silent, args=(notes,), daemon=True).start()
    start_client_internal.time = SimpleNamespace(**vars(time) | {"sleep": Pauses().sleep})
    inflatable_utils.pull_objects.__kwdefaults__["initial_backoff"] = 0.02
    drop_tasks_of_ended_runs()
    go_on_after_refused_pieces()
    if own.tell is not None:
        tell_of_tasks(own.tell)
    try:
        flower_supernode()
        print("SuperNode: the connection ended for good.", file=sys.stderr)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  Flower's local server would keep the process without its loop
        print(f"SuperNode: {type(error).__name__}: {error}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
