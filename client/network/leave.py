"""A hospital leaves: nothing leaves it, it stops, and its network keys are gone. What it owes its auditors stays."""

import contextlib
import time
from pathlib import Path

from client import brake
from client.config import SiteConfig
from client.network.home import Home
from client.network.request import request_path
from client.network.status import supervisor_pid
from client.network.supervisor import STOP, STOP_S
from common.errors import ConsiliumError
from common.files import exists

_MORE_S, _POLL_S = 15.0, 0.1


def stop(config: SiteConfig) -> bool:
    """End this hospital's processes and wait for that; whether any ran. Raises ConsiliumError if they do not end.

    They are asked by a file: a process number says nothing in another container, where it may be another program's.
    """
    state = Home.of(config).state
    request, pid = state / STOP, supervisor_pid(state)
    if pid is None:
        return False
    deadline = time.monotonic() + STOP_S + _MORE_S
    while supervisor_pid(state) is not None:
        if time.monotonic() > deadline:
            raise ConsiliumError(f"Process {pid}, which keeps {config.name} connected, does not end; look at it.")
        try:
            request.touch()  # again each time: one that begins takes away what it finds
        except OSError as error:
            raise ConsiliumError(f"{request}: cannot be made: {error.strerror or error}.") from None
        time.sleep(_POLL_S)
    with contextlib.suppress(OSError):
        request.unlink()
    return True


def leave(config: SiteConfig) -> tuple[bool, list[Path]]:
    """Put the brake on, stop, and forget; whether anything ran, and what was deleted. Raises ConsiliumError.

    The brake is first, and outlasts everything: whatever ends this in between, nothing leaves the hospital any more,
    and the same command goes on. What was started again meanwhile, with the keys in memory, is ended too.
    """
    brake.pause(config)
    stopped = stop(config)
    gone = forget(config)
    return stop(config) or stopped, gone


def forget(config: SiteConfig) -> list[Path]:
    """Delete the network keys, what came with the invitation to connect, and the request; gives what was deleted."""
    home = Home.of(config)
    # The connection first: after a crash in between, nothing connects with half of it.
    wanted = [home.connection, home.tls_key, home.node_key, home.node_key_public, home.certificate, home.authority]
    gone = [path for path in (*wanted, request_path(config)) if exists(path)]
    for path in gone:
        try:
            path.unlink()
        except OSError as error:
            raise ConsiliumError(f"{path}: cannot be deleted: {error.strerror or error}.") from None
    return gone
