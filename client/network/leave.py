"""A hospital leaves: it stops, and its network keys are gone. What it owes its own auditors stays where it is."""

import os
import signal
import time
from pathlib import Path

from client.config import SiteConfig
from client.network.home import Home
from client.network.request import request_path
from client.network.status import supervisor_pid
from client.network.supervisor import STOP_S
from common.errors import ConsiliumError
from common.files import exists

_MORE_S, _POLL_S = 15.0, 0.1


def stop(config: SiteConfig) -> bool:
    """End this hospital's processes and wait for that; whether any ran. Raises ConsiliumError if they do not end."""
    state = Home.of(config).state
    pid = supervisor_pid(state)
    if pid is None:
        return False
    if pid > 0:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise ConsiliumError(f"Process {pid} keeps {config.name} connected and belongs to another user.") from None
    deadline = time.monotonic() + STOP_S + _MORE_S
    while supervisor_pid(state) is not None:
        if time.monotonic() > deadline:
            raise ConsiliumError(f"Process {pid}, which keeps {config.name} connected, does not end; look at it.")
        time.sleep(_POLL_S)
    return True


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
