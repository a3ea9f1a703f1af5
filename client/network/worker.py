"""The warm half of a hospital's connection: its runner, which starts the SuperNode and starts it again when it ends.

    python -m client.network.worker HOME --app FOLDER          (started by client/network/supervisor.py)

PyTorch and the hospital's rows stay in memory while a SuperNode comes and goes. Only where a SuperNode ends in the
middle of a task does this process end too. The private keys of the connection are decrypted into files in memory, which
the SuperNode inherits; on the disk they stay encrypted.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client.config import SiteConfig, load_site
from client.network.home import Home, load_connection
from client.network.keys import node_key, tls_key
from client.runner import approved_hash, in_memory, prepare, serve
from client.start import check_start
from common.errors import ConsiliumError
from common.files import read_bytes, write_atomic
from common.network.certificates import check_certificate

WORKER = "worker.json"
FIRST_S, MOST_S, STEADY_S = 1.0, 15.0, 60.0
NOT_READY = 78
"""Exit status, EX_CONFIG of sysexits.h: a person has to mend something before it can start."""


@dataclass
class Backoff:
    """How long to wait before the next start: twice as long each time, from the beginning after a steady run."""

    first_s: float = FIRST_S
    most_s: float = MOST_S
    steady_s: float = STEADY_S
    _next_s: float = 0.0

    def after(self, ran_s: float) -> float:
        """Seconds to wait after a run of `ran_s` seconds."""
        wait_s = self.first_s if ran_s >= self.steady_s or not self._next_s else self._next_s
        self._next_s = min(self.most_s, 2 * wait_s)
        return wait_s


def check_ready(config: SiteConfig) -> None:
    """Raises ConsiliumError where this hospital's own files do not allow a start."""
    check_start(config.source)
    check_network(config)


def check_network(config: SiteConfig) -> None:
    """Raises ConsiliumError unless this hospital has joined, its network keys open, and its certificate is good."""
    home = Home.of(config)
    load_connection(home)
    check_certificate(
        read_bytes(home.certificate),
        authority_pem=read_bytes(home.authority),
        key_pem=tls_key(config),
        site=config.name,
        now=datetime.now(UTC),
        source=str(home.certificate),
    )
    node_key(config)


def run(config: SiteConfig, app: Path) -> None:
    """Serve for as long as this process lives. Raises ConsiliumError, before a start, where something is not ready."""
    prepare()
    approved, home, backoff, starts = approved_hash(app), Home.of(config), Backoff(), 0
    while True:
        check_ready(config)
        connection = load_connection(home)  # read again: a new invitation may have come
        node, key = in_memory("node-key", node_key(config)), in_memory("tls-key", tls_key(config))
        began = time.monotonic()
        arguments = [
            *("--superlink", connection.address, "--root-certificates", str(home.authority)),
            *("--auth-supernode-private-key", f"/proc/self/fd/{node}"),
            *("--client-certificate", str(home.certificate), "--client-key", f"/proc/self/fd/{key}"),
            *("--state", str(home.state), "--node-config", f"site-config={json.dumps(str(config.source))}"),
        ]
        try:
            status = serve(approved, arguments, files=(node, key))
        finally:
            os.close(node)
            os.close(key)
        starts += 1
        wait_s = backoff.after(time.monotonic() - began)
        _note(home, {"supernode_restarts": starts, "last_status": status})
        print(f"The SuperNode ended with status {status}; it is started again in {wait_s:g} s.", file=sys.stderr)
        time.sleep(wait_s)


def _note(home: Home, content: dict[str, int]) -> None:
    try:
        write_atomic(home.state / WORKER, (json.dumps(content) + "\n").encode())
    except ConsiliumError as error:  # a full disk must not end the connection
        print(error, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m client.network.worker", description="Serve one hospital.")
    parser.add_argument("home", type=Path)
    parser.add_argument("--app", type=Path, required=True, help="The stub app that this hospital serves.")
    arguments = parser.parse_args()
    try:
        config = load_site(arguments.home)
        check_ready(config)
        run(config, arguments.app)
    except ConsiliumError as error:
        print(f"This site does not start: {error}", file=sys.stderr)
        return NOT_READY
    except KeyboardInterrupt:  # how Flower's task client ends a process whose task is unknown
        print("The runner lost its task.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
