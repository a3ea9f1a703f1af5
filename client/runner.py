"""A site's runner: one warm process that serves a SuperNode with the installed app, and never runs what was shipped.

    python -m client.runner --app FOLDER -- --superlink HOST:PORT --auth-supernode-private-key FILE ...

A stock SuperNode starts a Python process for every message and imports the code that the coordinator sent. Started with
`--isolation process` it waits for a process that claims its tasks instead: this one. Both live and end together here;
client/network/worker.py starts the SuperNode again.
"""

import argparse
import hashlib
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx
import torch
from flwr.cli.build import build_fab_from_disk
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullAppMessagesRequest, PullAppMessagesResponse
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from client.app import app
from client.data.apart import read_apart
from client.door import answer
from client.network.memory import Spare, share_one_heap
from client.network.parent import ends_with_me
from client.own_log import story
from client.release import Release
from client.request import Request
from client.session import Session
from client.start import check_start, site_of
from common.errors import ConsiliumError, Refusal

POLL_S, UNTOLD_S, MESSAGE_S, STOP_S, NOTICE_S = 0.1, 1.0, 10.0, 10.0, 5.0
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_log = logging.getLogger("consilium.runner")
_lost = threading.Event()

# A task may be claimed before its parts have arrived; Flower then waits a whole second before it looks again.
pull_and_inflate_object_from_tree.__kwdefaults__["initial_backoff"] = 0.02


class Runner:
    """Claims the tasks of the SuperNode at `address`. approved: SHA-256 of the one app bundle that this site serves."""

    def __init__(self, address: str, *, secret: bytes, approved: str) -> None:
        self._address, self._approved = address, approved
        authority = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=frozenset({_ACQUIRE}))
        self._claims = self._client("SuperExec", authority, tries=1)

    def serve_one(self) -> bool:
        """Serve a waiting task; False if there is none or the SuperNode does not answer."""
        try:
            reply = self._claims.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
        except httpx.TransportError:
            return False
        if not reply.token:
            return False
        self._serve(reply.token)
        return True

    def _serve(self, token: str) -> None:
        client = self._client("flwr-clientapp", RuntimeTokenHttpInterceptor(token))
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heartbeat.start()
        try:
            message, context, _, bundle = pull_task_input(client)
            approved = bundle.hash_str == self._approved
            push_message(client, app(message, context) if approved else answer(message, context, _refuse), context)
            push_task_output(client, context, SubStatus.COMPLETED, "")
        except Exception as error:  # noqa: BLE001  one task may fail, the next one is served
            # Its heartbeat ends, whereupon the SuperNode tells the coordinator that the task was lost, and no more.
            _log.error("a task was not served: %s", story(error))
        finally:
            heartbeat.stop()
            client.close()

    def _client(self, component: str, interceptor: object, *, tries: int | None = None) -> RuntimeHttpClient:
        retry = make_simple_http_retry_invoker()
        retry.max_tries = tries or retry.max_tries
        return _PatientClient.from_server_address(
            server_address=self._address,
            insecure=True,
            root_certificates=None,
            retry_invoker=retry,
            interceptors=[RuntimeVersionHttpInterceptor(component_name=component), interceptor],
        )


class _PatientClient(RuntimeHttpClient):
    """Waits for the message of a task: a SuperNode offers the task an instant before it stores the message."""

    def PullMessages(self, request: PullAppMessagesRequest) -> PullAppMessagesResponse:
        deadline = time.monotonic() + MESSAGE_S
        while not (reply := super().PullMessages(request)).messages_list and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return reply


def approved_hash(app_folder: Path) -> str:
    """SHA-256 of the bundle that `flwr run` makes of `app_folder`: what a site of the same release approves."""
    return hashlib.sha256(build_fab_from_disk(app_folder)).hexdigest()


def run(app_folder: Path, supernode_arguments: list[str]) -> int:
    """Start a SuperNode and serve it until it ends; returns its exit status. SIGTERM and SIGINT end both."""
    prepare()
    return serve(approved_hash(app_folder), supernode_arguments)


def prepare() -> None:
    """Once in a process: SIGTERM ends it in order, sums have one order of their terms, and it stays small at rest."""
    signal.signal(signal.SIGTERM, _stop)
    share_one_heap()
    read_apart()
    torch.set_num_threads(1)  # models of this size lose time to threads; one thread also fixes the order of sums


def serve(approved: str, supernode_arguments: Sequence[str], *, files: Sequence[int] = ()) -> int:
    """Start a SuperNode, serve it until it ends, and give its exit status; it never outlives this call.

    files: descriptors that it inherits, each of which its arguments may name as `/proc/self/fd/N`.
    Where it ends in the middle of a task this process ends too: nobody would take the answer.
    """
    secret, port = secrets.token_urlsafe(32).encode(), _free_port()
    descriptor = in_memory("runner-secret", secret)
    told, tell = os.pipe()
    try:
        shown = ("--tell", str(tell), "--superexec-auth-secret-file", f"/proc/self/fd/{descriptor}")
        own = ["--isolation", "process", *shown]
        where = ["--host", "127.0.0.1", "--port", str(port)]
        try:
            supernode = subprocess.Popen(
                [sys.executable, "-P", "-m", "client.supernode", *own, *where, *supernode_arguments],
                pass_fds=(descriptor, tell, *files),
                preexec_fn=ends_with_me(),
            )
        finally:
            os.close(tell)  # so that its end is heard
        noticed = threading.Event()
        threading.Thread(target=_end_if_stuck, args=(supernode, noticed), daemon=True).start()
        try:
            runner = Runner(f"127.0.0.1:{port}", secret=secret, approved=approved)
            spare = Spare()
            while supernode.poll() is None:
                if runner.serve_one():
                    spare.used()
                elif not _is_told(told):
                    _wait(supernode, POLL_S)  # it may be ending
                else:
                    spare.rest()
        finally:
            noticed.set()
            supernode.terminate()
            if not _wait(supernode, STOP_S):
                supernode.kill()
        return supernode.wait()
    finally:
        os.close(descriptor)
        os.close(told)


def in_memory(name: str, content: bytes) -> int:
    """A descriptor of a file that is in no folder and on no disk: for a secret that a program reads from a file."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return descriptor


def _is_told(told: int) -> bool:
    """Wait until the SuperNode says that it has a task, or some time; False if it says no more."""
    if not select.select([told], [], [], UNTOLD_S)[0]:
        return True
    return bool(os.read(told, 4096))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_if_stuck(supernode: subprocess.Popen[bytes], noticed: threading.Event) -> None:
    """A task whose SuperNode is gone would be offered to nobody for ever: Flower tries again without an end."""
    supernode.wait()
    if not noticed.wait(NOTICE_S):
        _log.error("the SuperNode ended in the middle of a task.")
        print("The SuperNode ended in the middle of a task; the runner ends too.", file=sys.stderr)
        _lost.set()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _refuse(session: Session, request: Request) -> Release:
    raise Refusal("app_not_approved", "the coordinator shipped another app than the one that is installed here.")


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    try:
        process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(1 if _lost.is_set() else 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m client.runner", description="Serve a SuperNode from one process.")
    parser.add_argument("--app", type=Path, required=True, help="The stub app that this site approves.")
    parser.add_argument("supernode", nargs="*", help="After --: arguments for flower-supernode.")
    arguments = parser.parse_args()
    try:
        check_start(site_of(arguments.supernode))
    except ConsiliumError as error:
        print(f"This site does not start: {error}", file=sys.stderr)
        return 1
    return run(arguments.app, arguments.supernode)


if __name__ == "__main__":
    sys.exit(main())
