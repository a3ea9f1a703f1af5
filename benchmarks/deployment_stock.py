"""Stock Flower as its documentation has it: SuperLink and SuperNodes that start a process for every message, over TLS.

Every site's app imports torch and sends back what it got, one float32 array; there is no gateway and no evaluation.
"""

import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.deployment_block import SITES, Block, resident_mb, watch
from benchmarks.deployment_relay import Relay
from deploy.compose.keys import node_key, server_certificate
from tests.e2e.deployed import wait_until
from tests.e2e.processes import free_ports, stop_groups

BIN, HERE = Path(sys.executable).parent, Path(__file__).parent
START_S, STOP_S = 180.0, 20.0
_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


class Stock:
    """Connected as soon as it is started. folder: everything that is written."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runs = folder, 0
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._port, *own = free_ports(1 + SITES)
        self._relay = Relay(self._port)
        self._app()
        files = dict(zip(("ca.crt", "server.crt", "server.key"), server_certificate(("localhost",)), strict=True))
        for name, content in files.items():
            (self._folder / name).write_bytes(content)
        address = f'address = "127.0.0.1:{self._port}"\nroot-certificates = "{self._folder / "ca.crt"}"\n'
        (self._folder / "flwr").mkdir()
        (self._folder / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\n{address}'
        )
        tls = ("--ssl-ca-certfile", "ca.crt", "--ssl-certfile", "server.crt", "--ssl-keyfile", "server.key")
        where = ("--host", "127.0.0.1", "--port", self._port, "--enable-supernode-auth")
        self._start("superlink", "flower-superlink", *where, *tls)
        wait_until(self._healthy, "the stock SuperLink", START_S)
        for number, port in enumerate(own):
            private, public = node_key()
            key = self._folder / f"node{number}.key"
            key.write_bytes(private)
            key.chmod(0o600)
            key.with_suffix(".pub").write_bytes(public)
            self._flwr("supernode", "register", key.with_suffix(".pub"))
            dial = ("--superlink", f"127.0.0.1:{self._relay.port}", "--root-certificates", "ca.crt")
            node = ("--auth-supernode-private-key", key, "--host", "127.0.0.1", "--port", port)
            self._start(f"site{number}", "flower-supernode", *dial, *node)

    def rounds(self, parameters: int, count: int) -> Block:
        """`count` rounds after one that is not counted."""
        self._runs += 1
        times = self._folder / f"times{self._runs}.txt"
        config = f'parameters={parameters} rounds={count + 1} times="{times}"'
        run = str(self._flwr("run", self._folder / "app", "--run-config", config)["run-id"])

        def ended() -> int:
            link = self._running["superlink"]
            if link.poll() is not None:
                raise RuntimeError(f"the stock SuperLink ended with status {link.returncode}: {self._folder}")
            return len(times.read_text().splitlines()) - 1 if times.exists() else 0

        counted = watch(ended, count, self._relay, self._roots)
        self._ends(run)
        return counted

    def at_rest(self) -> dict[str, dict[str, float]]:
        """Site -> process -> MB."""
        return {name: resident_mb(each.pid) for name, each in self._running.items() if name.startswith("site")}

    def stop(self) -> None:
        stop_groups(self._running.values(), timeout_s=STOP_S)
        self._relay.close()

    def _app(self) -> None:
        """Flower packs the whole folder, and asks for a licence in it."""
        shutil.copytree(HERE / "stock_app", self._folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(HERE.parent / "LICENSE", self._folder / "app" / "LICENSE")

    def _roots(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    def _ends(self, run: str) -> None:
        def status() -> str:
            found = str(self._flwr("ls", "--run-id", run)["runs"][0]["status"])
            return found if found.startswith("finished") else ""

        if (found := wait_until(status, "the end of a stock run", START_S)) != "finished:completed":
            raise RuntimeError(f"a stock run ended as {found}: {self._folder}/superlink.log")

    def _healthy(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{self._port}/health", context=trust, timeout=3) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _flwr(self, *arguments: object) -> dict[str, Any]:
        words = [str(BIN / "flwr"), *map(str, arguments), "--format", "json"]
        done = subprocess.run(
            words, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=START_S
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return dict(json.loads(done.stdout[done.stdout.index("{") :]))

    @property
    def _environment(self) -> dict[str, str]:
        path = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"  # Flower starts its own programs by name
        return os.environ | _QUIET | {"FLWR_HOME": str(self._folder / "flwr"), "PATH": path}

    def _start(self, name: str, program: str, *arguments: object) -> None:
        with open(self._folder / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                [str(BIN / program), *map(str, arguments)],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
