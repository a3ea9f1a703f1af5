"""A federation of processes on this machine, as real ones are: SuperLink, SuperExec, and a runner for each hospital.

Whatever a person does in it goes through the commands. Whatever was started is stopped, by its own process group.
"""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.files import write_atomic
from common.plan import Plan
from common.privacy.events import UNNOISED_KINDS
from deploy.compose.keys import node_key, server_certificate, shared_secret
from tests.e2e.processes import stop_groups

ROOT = Path(__file__).parents[2]
APP = ROOT / "deploy" / "flower_app"
BIN = Path(sys.executable).parent
START_S, RUN_S, STOP_S, POLL_S = 120.0, 300.0, 15.0, 0.1
DIGITS = re.compile(r"(?:\d{5} ){7}\d{5}")


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float) -> Any:
    """What `condition` gives as soon as it is true; fails after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(POLL_S)
    return found


@dataclass
class Federation:
    """folder: everything that is written. sites: name -> the hospital's own folder, with its site.toml.

    recorded: the sites whose runner also writes down what it sends (tests/e2e/recording_runner.py).
    """

    folder: Path
    sites: dict[str, Path]
    recorded: tuple[str, ...] = ()
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "FLWR_HOME": str(self.folder / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # SuperExec starts `flwr-serverapp` by name
        }

    def command(self, program: str, *arguments: object) -> str:
        """What a command prints; fails where the command does."""
        words = [str(BIN / program), *map(str, arguments)]
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=RUN_S
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def flwr(self, *arguments: object) -> dict[str, Any]:
        text = self.command("flwr", *arguments, "--format", "json")
        return dict(json.loads(text[text.index("{") :]))

    def approve(self, plan: Plan) -> None:
        """Every hospital puts the plan where its site.toml names it and signs it, and so does the coordinator."""
        for folder in (self.folder, *self.sites.values()):
            write_atomic(folder / "plan.json", plan.canonical)
        self._at_each_site("approve", "plan.json", "--approve", plan.hash[:8])

    def enrol(self) -> None:
        """Keys, cards, a roster that every site looks at, signs and accepts: one command for each step."""
        shown = self._at_each_site("init")
        for home in self.sites.values():
            with open(home / "policy.toml", "a") as policy:  # the template's last line is for a person to write
                policy.write(f"allow_unnoised = {list(UNNOISED_KINDS)}\n")
        cards = [f"{site}.card.json" for site in self.sites]
        options = ("--federation", "deployed", "--out", "proposal.json")
        proposed = self.command("consilium", "server", "roster", *cards, *options)
        for site, words in shown.items():
            assert DIGITS.findall(words)[0] in proposed, f"{site} reads other digits over the telephone"
        told = DIGITS.findall(proposed)[-1]  # the roster's own; each operator reads it off the same proposal
        self._at_each_site("sign", "proposal.json", "--approve", told)
        signatures = [f"{site}.signature.json" for site in self.sites]
        self.command("consilium", "server", "collect", "proposal.json", *signatures, "--out", "roster.json")
        self._at_each_site("accept", "roster.json")

    def _at_each_site(self, verb: str, *arguments: str) -> dict[str, str]:
        with ThreadPoolExecutor() as hospitals:
            said = hospitals.map(
                lambda site: self.command("consilium", "site", verb, self.sites[site], *arguments), self.sites
            )
            return dict(zip(self.sites, said, strict=True))

    def start(self) -> None:
        """The coordinator's two processes and every site's, each site admitted by its key."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        authority, certificate, key = server_certificate(("localhost",))
        files = {"ca.crt": authority, "server.crt": certificate, "server.key": key, "superexec.secret": shared_secret()}
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        connection = f'[superlink.here]\naddress = "{self.address}"\nroot-certificates = "{self.folder / "ca.crt"}"\n'
        (self.folder / "flwr").mkdir()
        (self.folder / "flwr" / "config.toml").write_text('[superlink]\ndefault = "here"\n' + connection)
        secret = ("--superexec-auth-secret-file", "superexec.secret")
        tls = ("--ssl-ca-certfile", "ca.crt", "--ssl-certfile", "server.crt", "--ssl-keyfile", "server.key")
        host, port = self.address.split(":")
        where = ("--host", host, "--port", port, "--enable-supernode-auth", "--disable-runtime-dependency-installation")
        self._start("superlink", BIN / "flower-superlink", *where, *tls, "--isolation", "process", *secret)
        wait_until(self._healthy, "the SuperLink", START_S)
        reach = ("--runtime-api-address", self.address, "--root-certificates", "ca.crt")
        self._start("superexec", BIN / "flower-superexec", *reach, *secret)
        for site, home in self.sites.items():
            private, public = node_key()
            (home / "node.key").write_bytes(private)
            (home / "node.key").chmod(0o600)
            (home / "node.key.pub").write_bytes(public)
            self.flwr("supernode", "register", home / "node.key.pub", "--name", site)
            self.start_site(site)

    def start_site(self, site: str) -> None:
        home = self.sites[site]
        module = "tests.e2e.recording_runner" if site in self.recorded else "client.runner"
        runner = (sys.executable, "-m", module, "--app", APP, "--", "--superlink", self.address)
        node = ("--auth-supernode-private-key", home / "node.key", "--node-config", f'site-config="{home}/site.toml"')
        self._start(site, *runner, "--root-certificates", self.folder / "ca.crt", *node, cwd=ROOT)

    def kill_site(self, site: str) -> None:
        """Runner and SuperNode at once, as when the machine loses its power."""
        process = self._running.pop(site)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def begin_run(self, out: Path, *, resume: bool = False) -> str:
        """Start a run of the plan that the sites have approved; gives its identifier."""
        files = {"plan": "plan.json", "key": "coordinator.key", "roster": "roster.json"}
        config = [f'{key}="{self.folder / name}"' for key, name in files.items()] + [f'out="{out}"']
        config += [f"sites-expected={len(self.sites)}", f"resume={str(resume).lower()}"]
        return str(self.flwr("run", APP, "--run-config", " ".join(config))["run-id"])

    def end_of(self, run: str) -> dict[str, Any]:
        """The run's entry in `flwr ls` once it has ended, well or not."""
        # The stream waits without work for the processor; where it breaks off early, the run's status is asked again.
        self.command("flwr", "log", run, "--stream")

        def ended() -> dict[str, Any] | None:
            entry = self.flwr("ls", "--run-id", run)["runs"][0]
            return entry if entry["status"].startswith("finished") else None

        return wait_until(ended, f"the end of run {run}", RUN_S)

    def logs(self) -> str:
        """The last lines of every process, for a test that fails."""
        return "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(self.folder.glob("*.log")))

    def _start(self, name: str, *command: object, cwd: Path | None = None) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd or self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that what it starts can be ended with it
            )

    def _healthy(self) -> bool:
        assert self._running["superlink"].poll() is None, self.logs()
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        try:
            with urllib.request.urlopen(f"https://{self.address}/health", context=trust, timeout=3) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        stop_groups(self._running.values(), timeout_s=STOP_S)


@contextlib.contextmanager
def running(folder: Path, sites: dict[str, Path], *, recorded: tuple[str, ...] = ()) -> Iterator[Federation]:
    """Enrolled and started; stopped at the end, whatever happened."""
    federation = Federation(folder, sites, recorded)
    try:
        federation.enrol()
        federation.start()
        yield federation
    finally:
        federation.stop()
