"""Three hospitals and a coordinator: machines on which somebody types the documents, from nothing to a served roster.

north and harbour follow docs/hospital.md as it stands, valley its section on containers; the coordinator follows
docs/coordinator.md. What people send each other is carried from machine to machine, and nothing else.
"""

import os
import re
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

from client.data.synthetic import hospitals
from client.data.synthetic.cohort import generate
from client.data.synthetic.write import hospital_table
from tests.e2e.by_the_book import CHECKOUT, IMAGE, ROOT, USER_SHELL, Book, InCompose, Machine, docker
from tests.e2e.deployed import DIGITS, wait_until

HOME, BARE, PATIENTS, WAIT_S = "/srv/consilium", ("north", "harbour"), 600, 600.0
SITES, ROUNDS = (*BARE, "valley"), 200  # more than a test waits for, and all that a hospital's policy allows
UNIT, COORDINATOR = (ROOT / "deploy" / "systemd" / f"consilium-{name}.service" for name in ("site", "coordinator"))
PRIVACY = '\n[privacy]\nunit = "patient"\ntarget_epsilon = 3.6\n'
"""Below a hospital's epsilon_per_study of 4, whose policy is the one that `site init` writes."""


@dataclass
class Federation:
    """folder: of the person with Docker. name: of everything in Docker that this makes."""

    folder: Path
    name: str
    hospital: Book = field(default_factory=lambda: Book(ROOT / "docs" / "hospital.md"))
    coordinators: Book = field(default_factory=lambda: Book(ROOT / "docs" / "coordinator.md"))

    def __post_init__(self) -> None:
        shell = self.hospital.block(USER_SHELL)
        assert self.coordinators.block(USER_SHELL) == shell
        self.bare = {name: Machine(f"{self.name}-{name}", shell) for name in BARE}
        self.coordinator = Machine(f"{self.name}-coordinator", shell)

    def install(self) -> None:
        """Bare machines; what the installation makes of the first is copied to the others, to install it once."""
        first = self.bare["north"]
        docker("network", "create", self.name)
        first.start(IMAGE, self.name)
        first.unpack()
        first.root(self.hospital.block("python3 -m venv"))
        docker("commit", first.name, self.name)
        self.bare["harbour"].start(self.name, self.name)
        self.coordinator.start(self.name, self.name, "federation.example.org")
        self.coordinator.root(self.coordinators.block("nginx-light"))
        for name, machine in self.bare.items():
            machine.put(_table(name), f"{CHECKOUT}/stays.csv")
            machine.root(self.hospital.block("install -o consilium"))
        self.sites: dict[str, Machine | InCompose] = {**self.bare, "valley": self._valley()}

    def enrol(self) -> None:
        """From the coordinator's folder to hospitals that have accepted the roster and approved the plan."""
        self.coordinator.user(self.coordinators.block("server init"))
        for name, site in self.sites.items():
            block = self.hospital.block("site init /srv", north=name)
            site.user(block if name in BARE else block.replace('"stays.csv"', '"/tables/stays.csv"'))
            self.send(site, f"{name}.request.json", self.coordinator)
        plan = (ROOT / "experiments" / "demo.toml").read_text().replace(
            "rounds = 30\n", f"rounds = {ROUNDS}\n"
        ) + PRIVACY
        self.coordinator.put(plan.encode(), f"{HOME}/federation.toml", "consilium")
        told = DIGITS.findall(self.coordinator.user(self.coordinators.block("server enrol home *")))[-1]
        for name, site in self.sites.items():
            self.send(self.coordinator, f"home/invitations/{name}.invitation.json", site)
            site.user(self.hospital.block("site join", north=name))
            assert told in site.user(self.hospital.block("site sign", north=name), answer=f"{told}\n")
            self.send(site, f"{name}.signature.json", self.coordinator)
        self.coordinator.user(self.coordinators.block("server collect"))
        for name, site in self.sites.items():
            self.send(self.coordinator, "home/roster.json", site)
            site.user(self.hospital.block("site accept", north=name))
            self.approve(site, self.hospital)

    def approve(self, site: Machine | InCompose, book: Book) -> None:
        """A person reads the review, in which the plan's hash stands, and types how it begins."""
        digits = re.findall(r"Plan ([0-9a-f]{16}): can be approved", site.user(book.block("site review")))
        site.user(book.block("site approve"), answer=f"{digits[0][:8]}\n")

    def start(self) -> None:
        """The coordinator's processes, every hospital's check, the services; returns once all are connected."""
        self.coordinator.user_stays(self.coordinators.block("server serve", mark="terminal"), "/srv/serve.log")
        network = f"{self.name}-valley_default"  # Docker keeps networks apart: valley's way to the coordinator
        docker("network", "connect", "--alias", "federation.example.org", network, self.coordinator.name)
        for name, site in self.sites.items():
            wait_until(lambda: _well(site, self.hospital.block("site check")), f"{name}'s check", WAIT_S)  # noqa: B023
        for machine in self.bare.values():
            machine.service(UNIT, "/srv/site.log")
        up, logs, status = self.hospital.block("up --detach", mark="container").splitlines()
        valley = self.sites["valley"]
        assert isinstance(valley, InCompose)
        valley.here(up)
        wait_until(lambda: valley.here(status, well=False), "valley to be connected", WAIT_S)
        assert "valley connects to stroke" in valley.here(logs)
        for name in BARE:
            self.connected(name)

    def connected(self, name: str) -> None:
        """Returns once this hospital says that it is."""
        block = self.hospital.block("site status")
        wait_until(lambda: _well(self.sites[name], block), f"{name} to be connected", WAIT_S)

    def send(self, sender: Machine | InCompose, path: str, receiver: Machine | InCompose) -> None:
        """By mail: the file arrives in the folder where commands are typed."""
        receiver.put(sender.get(f"{HOME}/{path}"), f"{HOME}/{Path(path).name}", "consilium")

    def remove(self) -> None:
        """Everything that Docker has of this."""
        environment = os.environ | {"COMPOSE_PROJECT_NAME": f"{self.name}-valley", **self._folders}
        names = [machine.name for machine in (*self.bare.values(), self.coordinator)]
        for words in (
            ["rm", "--force", "--volumes", *names],
            ["compose", "-f", "compose.site.yml", "down", "--timeout", "30"],
            ["network", "rm", self.name],
            ["image", "rm", "--no-prune", self.name],
        ):
            subprocess.run(["docker", *words], cwd=ROOT, env=environment, capture_output=True)

    @property
    def _folders(self) -> dict[str, str]:
        return {"SITE_DIR": str(self.folder / "site"), "TABLES_DIR": str(self.folder / "tables")}

    def _valley(self) -> InCompose:
        """The person types the first block with folders of this test, and every command after the words it gives."""
        block = self.hospital.block("docker compose -f compose.site.yml build", mark="container")
        block = block.replace("/srv/consilium", self._folders["SITE_DIR"])
        block = block.replace("/srv/tables", self._folders["TABLES_DIR"])
        block = block.replace(" stays.csv", f" {self.folder / 'stays.csv'}")
        (self.folder / "stays.csv").write_bytes(_table("valley"))
        environment = os.environ | {"COMPOSE_PROJECT_NAME": f"{self.name}-valley"}
        person = InCompose(self.folder / "site", "", environment)
        person.here(f"set -e\n{block}")
        words = self.hospital.block("compose.site.yml run", mark="container").partition("consilium site init")[0]
        return replace(person, before=words.strip(), environment=environment | self._folders)


def _well(site: Machine | InCompose, text: str) -> bool:
    """Whether what is typed ends with status 0; `check` and `status` say with it how a hospital is."""
    try:
        return bool(site.user(text))
    except AssertionError:
        return False


def _table(name: str) -> bytes:
    """A hospital's table whose columns and units are the plan's own."""
    found = {one.name: one for one in hospitals(len(SITES), patients=PATIENTS)}[name]
    return hospital_table(generate(replace(found, columns={}, units={}), 0)).to_csv(index=False).encode()
