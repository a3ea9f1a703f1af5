"""A federation on this machine whose parts are killed, paused and cut off while it trains, and the cells of its table.

Between the hospitals and the gateway, and between everything and the SuperLink, stands a relay that can be cut.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner

from common.network.address import host_and_port
from common.plan import Plan
from experiments.cli import app
from server.network.home import load_home
from tests.e2e.deployed import APP, ROOT, wait_until
from tests.e2e.held_worker import FOLDER, REPORTED, SIGNED, TRAINING, held_file, hold_file
from tests.e2e.network import STOP_S, Network, events
from tests.e2e.processes import groups_below, processes_below
from tests.e2e.relay import Relay

BEHIND, WAIT_S = "127.0.0.2", 600.0
KILL, PAUSE, CUT = "kill", "pause", "cut"
LASTS_S = {PAUSE: 90.0, CUT: 75.0}
"""Both last longer than the minute after which the SuperLink takes a silent part for lost."""
ROUNDS, HELD_ROUND, STRUCK_ROUND = 3, 2, 1
SITE = "harbour"
MOMENTS = {"site-training": TRAINING, "site-reported": REPORTED, "site-signed": SIGNED}
PARTS = ("app", "superexec", "superlink", "gateway")
TARGETS = (*MOMENTS, *PARTS)
_TOLD = re.compile(
    r"(?:The run was cut off: .*? It goes on from its journal\.|The run pauses, .*? Nothing is lost)", re.S
)


@dataclass
class Faulty(Network):
    """As Network, with a wire that can be cut and hospitals that can be held at a moment of a round."""

    host: str = BEHIND
    gateway_wire: Relay | None = None
    link_wire: Relay | None = None

    def serve(self) -> None:
        rules = load_home(self.home).settings
        _, gateway = host_and_port(rules.address)
        self.gateway_wire = Relay(("127.0.0.1", gateway), (BEHIND, gateway))
        self.link_wire = Relay(("127.0.0.1", rules.link_port), (BEHIND, rules.link_port))
        super().serve()

    def quickly(self, *arguments: object) -> str:
        """As `consilium`, in this process: of a command's seconds nearly all are imports."""
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == 0, f"{arguments}: {done.exit_code}, {done.exception!r}\n{done.output}"
        return done.output

    def change_plan(self, plan: Plan) -> None:
        self.quickly("server", "enrol", self.home, "--plan", self.plan_file(plan))
        for site, home in self.sites.items():
            self.quickly("site", "join", home, self.home / "invitations" / f"{site}.invitation.json")
            self.quickly("site", "approve", home, self.home / "plan.json", "--approve", plan.hash[:8])

    def start_site(self, site: str, **variables: str) -> None:
        """As `consilium site start`, with a worker that can be held. variables: of its environment."""
        home = self.sites[site]
        (home / "state").mkdir(mode=0o700, exist_ok=True)
        worker = (sys.executable, "-m", "tests.e2e.held_worker", home, "--app", APP)
        supervisor = (sys.executable, "-m", "client.network.supervisor", home / "state", "--", *worker)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._start(site, *supervisor, **{FOLDER: str(self.folder), "PYTHONPATH": path} | variables)

    def stop_site(self, site: str) -> None:
        """`consilium site stop`."""
        self.consilium("site", "stop", self.sites[site])
        if (process := self._running.pop(site, None)) is not None:
            process.wait(timeout=STOP_S)

    def hold(self, site: str, moment: str, number: int) -> None:
        """Have the hospital stop at this moment of this round."""
        hold_file(self.folder, site).write_text(f"{moment} {number}")

    def wait_for_hold(self, site: str) -> None:
        wait_until(held_file(self.folder, site).exists, f"{site} at its moment", WAIT_S)

    def release(self, site: str) -> None:
        hold_file(self.folder, site).unlink(missing_ok=True)
        held_file(self.folder, site).unlink(missing_ok=True)

    def processes(self, target: str) -> set[int]:
        """What is stopped when `target`, a hospital or a part of the coordinator, is paused."""
        match target:
            case "app":
                return {self.app_pid()}
            case "gateway":
                return processes_below(self.pid(target))
            case "superexec" | "superlink":
                return {self.pid(target)}
        return processes_below(self._running[target].pid)

    @contextlib.contextmanager
    def paused(self, target: str) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        stopped = self.processes(target)
        try:
            for process in stopped:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    @contextlib.contextmanager
    def cut_off(self, target: str) -> Iterator[None]:
        """Nothing reaches `target`, and nothing that it sends arrives; mended at the end."""
        assert self.gateway_wire is not None and self.link_wire is not None
        wire = self.gateway_wire if target == "gateway" or target in self.sites else self.link_wire
        if target in self.sites:
            supervisor = self._running[target].pid
            wire.cut(lambda: processes_below(supervisor))
        elif target in ("gateway", "superlink"):
            wire.cut()
        else:
            known = self.processes(target)
            wire.cut(lambda: known)
        try:
            yield
        finally:
            wire.mend()

    def stop(self) -> None:
        for process in self._running.values():
            for group in groups_below(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGCONT)
        super().stop()
        for wire in (self.gateway_wire, self.link_wire):
            if wire is not None:
                wire.close()


@dataclass
class Play:
    """One cell being played. out: the run's folder. told: what a person read. struck_s, again_s: when the fault came,
    and when a further round was finished; seconds since the beginning."""

    network: Faulty
    plan: Plan
    out: Path
    told: list[str] = field(default_factory=list)
    struck_s: float = 0.0
    again_s: float = 0.0
    _run: subprocess.Popen[bytes] | None = None
    _began_s: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began_s

    def begin(self, *options: object) -> None:
        """`consilium server run`, with these options."""
        (self.network.folder / "run.log").unlink(missing_ok=True)
        self._run = self.network.run(self.out, *options)

    def ends(self, *, status: int = 0) -> str:
        """Waits for the end of the run: 0, finished; 3, paused. Gives what it said."""
        assert self._run is not None
        said = self.network.ends(self._run, status=status)
        self.told += [" ".join(sentence.split()) for sentence in _TOLD.findall(said)]
        return said

    def give_up(self) -> None:
        """End a run that nobody waits for any more."""
        for site in self.network.sites:
            self.network.release(site)
        if self._run is not None and self._run.poll() is None:
            self._run.terminate()
            self._run.wait(timeout=STOP_S)

    def rounds(self) -> int:
        return len(events(self.out, "round"))

    def wait_for_rounds(self, count: int) -> None:
        wait_until(lambda: self.rounds() >= count, f"{count} rounds", WAIT_S)

    def strike(self) -> int:
        """From now on the fault is there; gives the rounds that were finished before."""
        self.struck_s = self.seconds
        return self.rounds()

    def wait_for_another(self, before: int) -> None:
        """A further round was finished after the fault."""
        self.wait_for_rounds(before + 1)
        self.again_s = self.seconds


def fault(play: Play, kind: str, target: str) -> None:
    """Kill, pause or cut off `target`: a part of the coordinator, or one hospital at a moment of a round."""
    network, moment = play.network, MOMENTS.get(target)
    if moment is not None:
        network.hold(SITE, moment, HELD_ROUND)
    play.begin()
    play.wait_for_rounds(STRUCK_ROUND)
    if moment is not None:
        network.wait_for_hold(SITE)
    what = SITE if moment else target
    before = play.strike()
    if kind != KILL:
        with network.paused(what) if kind == PAUSE else network.cut_off(what):
            network.release(SITE)
            time.sleep(LASTS_S[kind])
    elif moment is None:
        os.kill(network.app_pid() if target == "app" else network.pid(target), signal.SIGKILL)
    else:
        network.kill_site(SITE)
        network.release(SITE)
        network.start_site(SITE)
    play.wait_for_another(before)
    play.ends()


def all_sites_killed(play: Play) -> None:
    """Every hospital loses its power at once, with its report sent and nothing signed."""
    network = play.network
    for site in network.sites:
        network.hold(site, REPORTED, HELD_ROUND)
    play.begin()
    for site in network.sites:
        network.wait_for_hold(site)
    before = play.strike()
    for site in network.sites:
        network.kill_site(site)
    for site in network.sites:
        network.release(site)
        network.start_site(site)
    play.wait_for_another(before)
    play.ends()
