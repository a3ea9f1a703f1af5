"""docs/hospital.md, coordinator.md and operations.md, typed word for word on bare machines (book_federation.py).

Needs a Docker engine; most of its time is the installation on a bare machine, so that `make torture` has it, not CI.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.book_federation import BARE, COORDINATOR, HOME, UNIT, WAIT_S, Federation
from tests.e2e.by_the_book import ROOT, Book, InCompose, docker
from tests.e2e.deployed import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.torture, pytest.mark.xdist_group("docker")]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail("no Docker engine here, and REQUIRE_DOCKER=1 asks for one")
        pytest.skip("no Docker engine here")
    made = Federation(tmp_path_factory.mktemp("book"), f"consilium-book-{os.getpid()}")
    try:
        made.install()
        made.enrol()
        made.start()
        yield made
    finally:
        made.remove()


def test_hospitals_and_a_coordinator_that_follow_the_documents_reach_a_round(federation: Federation) -> None:
    hospital, coordinator = federation.hospital, federation.coordinators
    federation.coordinator.user_stays(coordinator.block("server run", mark="terminal"), "/srv/run.log")
    _wait_for_a_round(federation)
    for name, site in federation.sites.items():
        shown = site.user(hospital.block("site ledger"))
        assert f"Privacy ledger of {name}" in shown
        receipts = site.user(f"consilium site receipts show {HOME} --last 500\n")
        assert re.search(r", round [1-9]\d*: .*masked, for a sum", receipts), receipts
        site.user(f"consilium site receipts verify {HOME}\n")
    assert (hospital.left_out, coordinator.left_out) == ([], [])


def test_the_hospital_in_a_container_has_no_root_no_port_and_nothing_to_write_but_its_folder(
    federation: Federation,
) -> None:
    container = f"{federation.name}-valley-site-1"
    settings = ("Config.User", *(f"HostConfig.{name}" for name in _SETTINGS))
    form = " ".join(f"{{{{.{name}}}}}" for name in settings)
    found = docker("inspect", "--format", form, container).strip()
    assert found == "10001:10001 true [ALL] [] false map[] [no-new-privileges:true]"
    for path in ("/tables/x", "/etc/x", "/opt/consilium/x"):
        docker("exec", container, "sh", "-c", f"! touch {path}")
    health = ("inspect", "--format", "{{.State.Health.Status}}", container)
    wait_until(lambda: docker(*health).strip() == "healthy", "the health check", WAIT_S)


_SETTINGS = ("ReadonlyRootfs", "CapDrop", "CapAdd", "Privileged", "PortBindings", "SecurityOpt")


def _wait_for_a_round(federation: Federation, number: str = "[1-9]") -> None:
    block = federation.coordinators.block("server status")
    said = re.compile(rf"run .*: round {number}")
    wait_until(lambda: said.search(federation.coordinator.user(block)), "a round", WAIT_S)


def test_everyday_work_and_its_accidents_are_typed_as_operations_says(federation: Federation) -> None:
    """Pause, restart, upgrade, a lost disk, renewal, a lost key, and hospitals that go; a run goes on in between."""
    book, coordinator = Book(ROOT / "docs" / "operations.md"), federation.coordinator
    north, harbour = (federation.bare[name] for name in BARE)
    coordinator.user(book.block("server doctor home", mark="coordinator"))
    north.user(book.block("df --human-readable"))

    # The brake pauses a run of three; it goes on with the same command.
    north.user(book.block("site pause").splitlines()[0])
    coordinator.user("consilium server stop home")
    again = book.block("server run home", mark="coordinator terminal")
    said = coordinator.user(f"{again.strip()} --wait-s 5 2>&1 || test $? = 3")
    assert "The run pauses" in said and "paused)" in said
    north.user(book.block("site pause").splitlines()[1])
    north.user(book.block("tail -n 20 site.log"))

    # New certificates for everybody; the coordinator starts again.
    coordinator.user(book.block("server renew home", mark="coordinator"))
    coordinator.user(book.block("stop home --all", mark="coordinator"))
    assert "server serve home" in book.block("server serve", mark="coordinator terminal")
    coordinator.service(COORDINATOR, "/srv/serve.log")  # the same by the unit; both were typed then
    for name, site in federation.sites.items():
        federation.send(coordinator, f"home/invitations/{name}.invitation.json", site)
        site.user(book.block("site join", north=name))

    # An upgrade and a lost disk, one after the other at north.
    north.user(f"consilium site stop {HOME}")
    before = north.root("stat --format %z /opt/consilium/lib/python3.11/site-packages/client/app.py")
    north.root(book.block("--upgrade .", mark="root"))
    assert north.root("stat --format %z /opt/consilium/lib/python3.11/site-packages/client/app.py") != before
    federation.approve(north, book)
    north.user(book.block("tar --create --file backup.tar"))
    kept = {name: north.get(f"{HOME}/{name}") for name in ("backup.tar", "keys/at-rest.key", "stays.csv")}
    assert "secure.sqlite" not in north.user("tar --list --file backup.tar")
    north.root(f"find {HOME} -mindepth 1 -delete")
    north.root(f"install -d -o consilium -g consilium -m 0700 {HOME}/keys")
    for name, data in kept.items():
        north.put(data, f"{HOME}/{name}", "consilium")
    assert "not in the place where it was" in north.user(book.block("tar --extract"))
    north.user(book.block("--accept-restored"), answer="north\n")
    north.service(UNIT, "/srv/site.log")
    federation.connected("north")
    coordinator.user(book.block("tar --create --file coordinator.tar", mark="coordinator"))

    done = _rounds(federation)
    coordinator.user_stays(again, "/srv/run.log")
    wait_until(lambda: _rounds(federation) > done, "another round", WAIT_S)

    # Keys that nobody can open any more: the hospital goes, and is a new one.
    harbour.user(book.block("site leave"), answer="harbour\n")
    harbour.user(book.block("mv keys keys.lost"))
    coordinator.user(book.block("--revoke harbour", mark="coordinator"))
    ask = f"consilium site check {HOME} || test $? = 1\n"
    valley = federation.sites["valley"]
    wait_until(lambda: "does not admit this hospital" in valley.user(ask), "valley to be outside", WAIT_S)
    _stops_and_leaves_in_a_container(federation, book)
    assert book.left_out == []


def _stops_and_leaves_in_a_container(federation: Federation, book: Book) -> None:
    """From a container of its own, with other process numbers; what was stopped stays so, and is not started again."""
    valley, service = federation.sites["valley"], f"{federation.name}-valley-site-1"
    assert isinstance(valley, InCompose)
    stop, restart = book.block("site stop", mark="container").splitlines()
    assert "valley has stopped" in valley.here(stop)
    ask = f"consilium site status {HOME} || test $? = 3\n"
    assert "It is not running" in valley.user(ask)
    assert docker("inspect", "--format", "{{.State.Running}} {{.RestartCount}}", service).strip() == "true 0"
    valley.here(restart)
    wait_until(lambda: "It runs since" in valley.user(ask), "valley to run again", WAIT_S)
    leave, down = book.block("site leave", mark="container").splitlines()
    said = valley.here(leave, answer="valley\n")
    assert "valley has stopped, and is paused." in said and "--leaves valley" in said
    assert docker("inspect", "--format", "{{.State.Running}} {{.RestartCount}}", service).strip() == "true 0"
    assert list((valley.folder / "network").iterdir()) == [] and (valley.folder / "keys" / "PAUSED").exists()
    valley.here(down)


def _rounds(federation: Federation) -> int:
    """Finished ones, in the journal."""
    return federation.coordinator.user("cat home/runs/*/events.jsonl\n").count('"event": "round"')
