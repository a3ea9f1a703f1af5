"""A whole federation on this machine, built with the commands: gateway, SuperLink, SuperExec, and its hospitals.

Whatever a person does goes through `consilium`. Whatever was started is stopped, by its own process group.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from common.plan import Plan
from common.privacy.events import UNNOISED_KINDS
from server.journal import EVENTS
from tests.e2e.deployed import DIGITS, wait_until
from tests.e2e.processes import child, free_ports, groups_below

CONSILIUM = (str(Path(sys.executable).parent / "consilium"),)
START_S, RUN_S, STOP_S = 180.0, 900.0, 40.0


@dataclass
class Network:
    """folder: everything that is written. sites: name -> the hospital's own folder, with its site.toml.

    host: where gateway and SuperLink listen; whoever dials them dials 127.0.0.1, where a relay may stand between.
    before: told the gateway's port, gives the one that hospitals dial: of what stands between them and the gateway.
    """

    folder: Path
    sites: dict[str, Path]
    host: str = "127.0.0.1"
    before: Callable[[int], int] | None = None
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "coordinator"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"FLWR_HOME": str(self.folder / "flwr")}

    def consilium(self, *arguments: object, status: int = 0) -> str:
        """What a command prints; fails unless it ends with this exit status."""
        words = [*CONSILIUM, *map(str, arguments)]
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=RUN_S
        )
        assert done.returncode == status, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def at_each_site(self, verb: str, *arguments: object, sites: tuple[str, ...] = ()) -> dict[str, str]:
        """The same command at every hospital; `{site}` in an argument is its name."""
        names = sites or tuple(self.sites)

        def one(site: str) -> str:
            words = [str(word).replace("{site}", site) for word in arguments]
            return self.consilium("site", verb, self.sites[site], *words)

        with ThreadPoolExecutor(max_workers=3) as hospitals:
            return dict(zip(names, hospitals.map(one, names), strict=True))

    def enrol(self, plan: Plan) -> None:
        """From nothing to hospitals that may connect and have approved `plan`."""
        gateway, link = free_ports(2)
        dialled = self.before(gateway) if self.before else gateway
        where = ("--address", f"localhost:{dialled}", "--listen", f"{self.host}:{gateway}", "--link-port", link)
        self.consilium("server", "init", self.home, "--federation", "network", *where)
        self.at_each_site("init")
        for home in self.sites.values():
            with open(home / "policy.toml", "a") as policy:  # the template's last line is for a person to write
                policy.write(f"allow_unnoised = {list(UNNOISED_KINDS)}\n")
        requests = [home / f"{site}.request.json" for site, home in self.sites.items()]
        proposed = self.consilium("server", "enrol", self.home, *requests, "--plan", self.plan_file(plan))
        self.at_each_site("join", self.home / "invitations" / "{site}.invitation.json")
        self.accept_roster(DIGITS.findall(proposed)[-1])
        self.approve(plan)

    def accept_roster(self, told: str) -> None:
        """Every hospital signs the proposal that it was sent, and accepts what comes of it. told: its fingerprint."""
        for site, home in self.sites.items():
            self.consilium("site", "sign", home, home / "proposal.json", "--approve", told)
            assert (self.folder / f"{site}.signature.json").exists()
        self.consilium("server", "collect", self.home, *(f"{site}.signature.json" for site in self.sites))
        self.at_each_site("accept", self.home / "roster.json")

    def approve(self, plan: Plan) -> None:
        self.at_each_site("approve", self.home / "plan.json", "--approve", plan.hash[:8])

    def change_plan(self, plan: Plan) -> None:
        """Another plan for the same hospitals: it travels in new invitations."""
        self.consilium("server", "enrol", self.home, "--plan", self.plan_file(plan))
        self.at_each_site("join", self.home / "invitations" / "{site}.invitation.json")
        self.approve(plan)

    def plan_file(self, plan: Plan) -> Path:
        path = self.folder / "federation.toml"
        path.write_text(tomli_w.dumps(_without_none(plan.model_dump(mode="json"))))
        return path

    def serve(self) -> None:
        """The coordinator's processes; returns once the hospitals' keys are registered."""
        self._start("serve", *CONSILIUM, "server", "serve", self.home, "--link-listen", self.host)
        wait_until(self._ready, "the coordinator's processes", START_S)

    def start_site(self, site: str, *options: object) -> None:
        self._start(site, *CONSILIUM, "site", "start", self.sites[site], *options)

    def kill_site(self, site: str) -> None:
        """Everything of a hospital at once, as when the machine loses its power."""
        process = self._running.pop(site)
        for group in groups_below(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        process.wait()

    def run(self, out: Path, *options: object) -> subprocess.Popen[bytes]:
        """`consilium server run`, in the background."""
        return self._start("run", *CONSILIUM, "server", "run", self.home, "--out", out, *options)

    def ends(self, run: subprocess.Popen[bytes], *, status: int = 0) -> str:
        """What `run` said, once it has ended with this exit status."""
        wait_until(lambda: run.poll() is not None, "the end of the run", RUN_S)
        said = (self.folder / "run.log").read_text()
        assert run.returncode == status, f"{run.returncode}: {said}\n{self.logs()}"
        return said

    def stop_run(self, run: subprocess.Popen[bytes]) -> None:
        """`consilium server stop`, upon which `run` pauses."""
        self.consilium("server", "stop", self.home)
        self.ends(run, status=3)

    def status(self) -> dict[str, Any]:
        """What the supervisor says of itself."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.home / "state" / "serve.json").read_bytes()))
        return {}

    def _ready(self) -> bool:
        told = self.status()  # of the one before it, where that was killed
        return bool(told.get("ready")) and told["pid"] == self.pids["serve"]

    @property
    def pids(self) -> dict[str, int]:
        """`serve`, each site and `run`, as far as they were started -> process."""
        return {name: process.pid for name, process in self._running.items()}

    def pid(self, part: str) -> int:
        """Of `superlink`, `superexec` or `gateway`, once it runs."""
        return int(wait_until(lambda: self.status().get("parts", {}).get(part, {}).get("pid"), part, START_S))

    def app_pid(self) -> int:
        """Of the coordinator's app."""
        return int(wait_until(lambda: child(self.pid("superexec"), b"flwr-serverapp"), "the app", START_S))

    def ended(self, name: str) -> bool:
        """Whether `serve`, a site's process or `run` has ended."""
        return self._running[name].poll() is not None

    def logs(self) -> str:
        """The last lines of every process, for a test that fails."""
        logs = [*self.folder.glob("*.log"), *(self.home / "state").glob("*.log")]
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in sorted(logs))

    def stop(self) -> None:
        for process in reversed(self._running.values()):
            process.terminate()
        for process in self._running.values():
            groups = groups_below(process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=STOP_S)
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            process.wait()

    def _start(self, name: str, *command: object, **variables: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._running[name]


@contextlib.contextmanager
def running(folder: Path, sites: dict[str, Path], plan: Plan) -> Iterator[Network]:
    """Enrolled, served and connected; stopped at the end, whatever happened."""
    network = Network(folder, sites)
    try:
        network.enrol(plan)
        network.serve()
        for site in sites:
            network.start_site(site)
        yield network
    finally:
        network.stop()


def events(out: Path, kind: str) -> list[dict[str, Any]]:
    """The events of this kind in a journal, so far."""
    if not (out / EVENTS).exists():
        return []
    found = (json.loads(line) for line in (out / EVENTS).read_text().splitlines(keepends=True) if line.endswith("\n"))
    return [event for event in found if event["event"] == kind]


def _without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, list) else value
