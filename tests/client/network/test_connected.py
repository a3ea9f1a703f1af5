"""A hospital beside a real coordinator: SuperLink, gateway and all. It comes back from everything, and goes in order.

Three hospitals enrol by the commands; one of them connects. The tests follow one another in one federation.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common.secagg.json_view import from_json
from common.secagg.messages import SignedRoster
from common.secagg.roster import roster_fingerprint
from tests.client.network.conftest import NAMES, make_site, write_plan
from tests.client.network.test_supervisor import DEADLINE_S, ROOT, runs, until
from tests.server.network.stand import require_nginx

BIN = Path(sys.executable).parent
AWAY_S = 240.0  # a node that was killed is let in again when the link has missed two of its heartbeats

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flower")]


@dataclass
class Federation:
    folder: Path
    port: int
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def consilium(self, *words: object, status: int = 0) -> str:
        done = subprocess.run(
            [str(BIN / "consilium"), *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=AWAY_S,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    def begin(self, *words: object) -> subprocess.Popen[bytes]:
        log = open(self.folder / f"{words[0]}.log", "ab")  # noqa: SIM115  closed with the process
        command = [str(BIN / "consilium"), *map(str, words)]
        self.running.append(subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log))
        return self.running[-1]

    def serve(self) -> subprocess.Popen[bytes]:
        return self.begin("server", "serve", "home")

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))

    def state(self, name: str) -> dict[str, Any]:
        path = self.folder / "north" / "state" / name
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @property
    def worker(self) -> int:
        """0 while none runs."""
        return int(self.state("status.json")["worker"] or 0)

    @property
    def supernode(self) -> int:
        """As soon as one runs: between two starts there is none."""
        return int(until(lambda: children(self.worker), "a SuperNode", timeout_s=AWAY_S)[0])

    def heard_after(self, moment: datetime, code: str = "ok") -> None:
        def heard() -> bool:
            found = self.state("contact.json")
            return bool(found) and datetime.fromisoformat(found["time"]) > moment and found["code"] == code

        try:
            until(heard, f"{code} after {moment}", timeout_s=AWAY_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in threads for child in path.read_text().split()]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Enrolled, with every plan approved and the roster accepted; nothing runs yet."""
    require_nginx()
    folder, here = tmp_path_factory.mktemp("federation"), Path.cwd()
    it = Federation(folder, free_port())
    os.chdir(folder)
    try:
        digits = write_plan()[:8]
        for seed, name in enumerate(NAMES):
            make_site(name, seed)
            it.consilium("site", "init", name)
        address = ("--address", f"127.0.0.1:{it.port}", "--link-port", free_port())
        it.consilium("server", "init", "home", "--federation", "stroke", *address)
        requests = [f"{name}/{name}.request.json" for name in NAMES]
        it.consilium("server", "enrol", "home", *requests, "--plan", "federation.toml")
        for name in NAMES:
            it.consilium("site", "join", name, f"home/invitations/{name}.invitation.json")
        proposal = from_json(SignedRoster, Path("home/proposal.json").read_bytes(), source="proposal.json")
        told = roster_fingerprint(proposal.roster)
        for name in NAMES:
            it.consilium("site", "sign", name, f"{name}/proposal.json", "--approve", told)
        it.consilium("server", "collect", "home", *(f"{name}.signature.json" for name in NAMES))
        it.consilium("site", "accept", "north", "home/roster.json")
        it.consilium("site", "approve", "north", "north/plan.json", "--approve", digits)
        yield it
    finally:
        os.chdir(here)
        for process in reversed(it.running):
            process.terminate()
        for process in it.running:
            process.wait(DEADLINE_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(federation: Federation) -> Federation:
    federation.serve()
    until(lambda: "registered: north" in federation.logs(), "the coordinator", timeout_s=AWAY_S)
    return federation


@pytest.fixture(scope="module")
def connected(served: Federation) -> Federation:
    began = datetime.now(UTC)
    served.begin("site", "start", "north")
    served.heard_after(began)
    return served


def test_without_a_coordinator_the_preflight_says_so_and_nothing_else_is_wrong(federation: Federation) -> None:
    found = json.loads(federation.consilium("site", "check", "north", "--json", status=1))
    wrong = [each for each in found if each["level"] == "error"]
    assert [each["about"] for each in wrong] == ["connection"] and "nothing listens" in wrong[0]["words"]
    assert {"data", "plan", "roster", "certificate", "disk", "device"} <= {each["about"] for each in found}
    assert "is not running" in federation.consilium("site", "status", "north", status=3)


def test_with_one_it_finds_everything_in_order(served: Federation) -> None:
    said = served.consilium("site", "check", "north")
    assert "knows this hospital" in said and "clock agrees" in said and "can take part" in said


def test_it_connects_once_and_says_so(connected: Federation) -> None:
    assert json.loads(connected.consilium("site", "status", "north", "--json"))["connected"] is True
    assert "is running already" in connected.consilium("site", "start", "north", status=2)
    secrets = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (connected.worker, connected.supernode)]
    assert all(b"PRIVATE" not in words and b"network/tls.key" not in words for words in secrets)


def test_a_supernode_that_is_killed_comes_back_and_the_warm_runner_stays(connected: Federation) -> None:
    worker, supernode, moment = connected.worker, connected.supernode, datetime.now(UTC)
    os.kill(supernode, signal.SIGKILL)
    connected.heard_after(moment, "not_registered")  # the link still has it online, for a minute: the next test waits
    assert connected.worker == worker and connected.supernode != supernode


def test_a_runner_that_is_killed_comes_back_with_another_supernode_and_is_let_in_again(connected: Federation) -> None:
    worker, supernode = connected.worker, connected.supernode
    os.kill(worker, signal.SIGKILL)
    until(lambda: connected.worker not in (0, worker), "another worker", timeout_s=AWAY_S)
    moment = datetime.now(UTC)
    assert not runs(worker) and not runs(supernode)
    connected.heard_after(moment)


def test_a_coordinator_that_was_away_is_found_again(connected: Federation) -> None:
    moment = datetime.now(UTC)
    server = connected.running[0]
    server.terminate()
    server.wait(DEADLINE_S)
    connected.heard_after(moment, "unreachable")
    assert "Nothing answers" in connected.consilium("site", "status", "north", status=3)
    moment = datetime.now(UTC)
    connected.serve()
    connected.heard_after(moment)


def test_stop_leaves_no_process_and_another_start_goes_on(connected: Federation) -> None:
    everything = [connected.worker, connected.supernode, connected.running[1].pid]
    assert "has stopped" in connected.consilium("site", "stop", "north")
    assert connected.running[1].wait(DEADLINE_S) == 0 and not any(map(runs, everything))
    assert "was not running" in connected.consilium("site", "stop", "north")
    moment = datetime.now(UTC)
    connected.begin("site", "start", "north")
    connected.heard_after(moment)  # at once: it told the coordinator that it went


def test_what_a_person_has_to_mend_is_said_and_nothing_is_started(served: Federation) -> None:
    policy = served.folder / "south" / "policy.toml"
    kept = policy.read_text()
    policy.write_text("[budget]\n")
    said = served.consilium("site", "check", "south", status=1)
    assert "allow_unnoised" in said and "connection" in said
    process = served.begin("site", "start", "south")
    assert process.wait(AWAY_S) == 78
    assert "This site does not start: " in served.logs() and "allow_unnoised" in served.logs()
    policy.write_text(kept)


def test_who_leaves_is_gone_and_keeps_what_auditors_want(connected: Federation) -> None:
    everything: list[int] = [connected.worker, connected.supernode]
    assert "nothing was changed" in connected.consilium("site", "leave", "north", "--confirm", "south", status=2)
    said = connected.consilium("site", "leave", "north", "--confirm", "north")
    assert not any(map(runs, everything)) and "--leaves north" in said
    home = connected.folder / "north"
    assert {path.name for path in (home / "network").iterdir()} == set()
    assert {"signing.key", "approvals", "PAUSED"} <= {path.name for path in (home / "keys").iterdir()}
    assert "has not joined yet" in connected.consilium("site", "start", "north", status=2)
    assert "gone already" in connected.consilium("site", "leave", "north", "--confirm", "north")
