"""The coordinator's processes, for real: what is killed comes back, hospitals are registered again, one instance."""

import json
import os
import signal
import subprocess
import time

import pytest

from common.errors import ConsiliumError
from server.network.flower import CONNECTION, connect, flwr, healthy, nodes
from server.network.home import Home
from server.network.serve import ask_to_stop, serve, served
from tests.e2e.deployed import wait_until
from tests.server.network.conftest import CONSILIUM, WAIT_S, Command, hospitals, ready
from tests.server.network.stand import require_nginx

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flower")]


def _pid(home: Home, part: str) -> int:
    return int(wait_until(lambda: ready(home), part, WAIT_S)["parts"][part]["pid"])


def test_what_is_killed_is_there_again_and_hospitals_are_registered_again(serving: Home, consilium: Command) -> None:
    before = served(serving)
    assert before is not None and list(before["nodes"]) == ["north", "south", "west"]
    assert set(nodes(serving)) == set(before["nodes"].values())
    for part in ("gateway", "superexec"):
        pid = _pid(serving, part)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid, part=part: _pid(serving, part) != pid, f"another {part}", WAIT_S)
    pids = {part: _pid(serving, part) for part in ("superlink", "superexec")}
    os.kill(pids["superlink"], signal.SIGKILL)
    for part, pid in pids.items():  # the app talks to the link that is gone: it is ended with it
        wait_until(lambda pid=pid, part=part: _pid(serving, part) != pid, f"another {part}", WAIT_S)
    after = served(serving)
    assert after is not None and list(after["nodes"]) == ["north", "south", "west"]
    assert not set(after["nodes"].values()) & set(before["nodes"].values())
    assert set(nodes(serving)) == set(after["nodes"].values())

    said = consilium("server", "status", serving.folder)
    assert "superlink: runs as process" in said and "last ended with status -9" in said
    assert said.count("has never connected") == 3 and "run: none yet" in said
    with pytest.raises(ConsiliumError, match="is served already"):
        serve(serving.folder, print)


def test_a_hospital_that_is_revoked_is_unregistered_while_serving(serving: Home, consilium: Command) -> None:
    told = served(serving)
    assert told is not None
    new = hospitals("young")["young"]
    consilium("server", "enrol", serving.folder, new.request(), "--revoke", "west")
    now = wait_until(lambda: (each := served(serving)) and "young" in each["nodes"] and each, "young", WAIT_S)
    assert list(now["nodes"]) == ["north", "south", "young"]
    assert nodes(serving).get(told["nodes"]["west"]) in (None, "unregistered")
    assert "young" in (serving.folder / "gateway" / "sites.map").read_text()


def test_a_key_whose_registration_was_not_answered_is_unregistered_under_its_number(
    serving: Home, consilium: Command
) -> None:
    """And a hospital that left comes back with the same key, which a SuperLink does not register twice."""
    young = hospitals("young")["young"]
    key = serving.state / "nodes" / "young.pub"
    key.write_bytes(young.node[1] + b"\n")
    number = int(flwr(serving, "supernode", "register", str(key), CONNECTION)["node-id"])
    consilium("server", "enrol", serving.folder, young.request())
    wait_until(lambda: ((served(serving) or {}).get("nodes", {})).get("young") == number, "young", WAIT_S)
    link = _pid(serving, "superlink")
    consilium("server", "enrol", serving.folder, "--leaves", "young")
    wait_until(lambda: nodes(serving).get(number) in (None, "unregistered"), "the node has gone", WAIT_S)
    wait_until(lambda: "young" not in served(serving)["nodes"], "so does the name", WAIT_S)
    consilium("server", "enrol", serving.folder, young.request())
    now = wait_until(lambda: (told := ready(serving)) and "young" in told["nodes"] and told, "young is back", WAIT_S)
    assert _pid(serving, "superlink") != link
    assert nodes(serving)[now["nodes"]["young"]] == "registered"


def test_stop_all_ends_everything(home: Home, consilium: Command) -> None:
    require_nginx()
    process = subprocess.Popen([CONSILIUM, "server", "serve", str(home.folder)], stdout=subprocess.DEVNULL)
    pids = [part["pid"] for part in wait_until(lambda: ready(home), "the processes", WAIT_S)["parts"].values()]
    assert healthy(home)
    assert "have ended" in consilium("server", "stop", home.folder, "--all")
    assert process.wait(timeout=WAIT_S) == 0 and not healthy(home)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert ask_to_stop(home) and served(home) is None


def test_without_processes_a_run_pauses_and_says_how_to_go_on(home: Home, consilium: Command) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [CONSILIUM, "server", "run", str(home.folder), "--wait-s", "1"], capture_output=True, text=True, timeout=WAIT_S
    )
    assert done.returncode == 3 and time.monotonic() - began < WAIT_S
    assert f"the SuperLink does not answer; `consilium server serve {home.folder}` runs it" in done.stderr
    assert f"it goes on with: consilium server run {home.folder} --out {home.runs}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "not served" in consilium("server", "status", home.folder, status=1)


def test_a_roster_that_is_not_signed_or_a_plan_that_is_missing_is_an_error_at_once(
    home: Home, consilium: Command
) -> None:
    whole = json.loads(home.roster.read_bytes())
    home.roster.unlink()
    with pytest.raises(ConsiliumError, match=r"roster\.json: cannot be read"):
        consilium("server", "run", home.folder)
    home.roster.write_text(json.dumps(whole))
    connect(home)
    home.plan.unlink()
    with pytest.raises(ConsiliumError, match=r"plan\.json: cannot be read"):
        consilium("server", "run", home.folder)
