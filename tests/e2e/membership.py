"""Who belongs to a federation of processes, and what each hospital's own books say of a run."""

import http.client
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.config import load_site
from client.ledger.file import LEDGER
from client.ledger.reading import read_bodies
from client.network.home import Home, load_connection
from client.network.keys import public_node_key, tls_key
from common.network.node_key import key_header
from common.plan import Plan
from common.privacy.events import UNNOISED_KINDS
from server.network.gateway_template import PATHS
from tests.e2e.deployed import DIGITS, wait_until
from tests.e2e.network import Network, events

WAIT_S = 600.0


def offer(network: Network, plan: Plan, *, approved_by: tuple[str, ...]) -> None:
    """Another plan reaches every hospital, and only some of them approve it."""
    network.consilium("server", "enrol", network.home, "--plan", network.plan_file(plan))
    network.at_each_site("join", network.home / "invitations" / "{site}.invitation.json")
    approve(network, plan, *approved_by)


def apply(network: Network, site: str, home: Path) -> Path:
    """A hospital that is new makes its keys and completes its policy: its request."""
    network.sites[site] = home
    network.consilium("site", "init", home)
    with open(home / "policy.toml", "a") as policy:  # the template's last line is for a person to write
        policy.write(f"allow_unnoised = {list(UNNOISED_KINDS)}\n")
    return home / f"{site}.request.json"


def approve(network: Network, plan: Plan, *sites: str) -> None:
    network.at_each_site("approve", network.home / "plan.json", "--approve", plan.hash[:8], sites=sites)


def next_roster(network: Network, proposed: str, *, signers: tuple[str, ...], joins: tuple[str, ...] = ()) -> None:
    """The roster that `server enrol` has just proposed comes into use. proposed: what the command said."""
    told = DIGITS.findall(proposed)[-1]
    network.at_each_site("join", network.home / "invitations" / "{site}.invitation.json", sites=signers + joins)
    for site in signers:
        home = network.sites[site]
        network.consilium("site", "sign", home, home / "proposal.json", "--approve", told)
    network.consilium("server", "collect", network.home, *(f"{site}.signature.json" for site in signers))
    network.at_each_site("accept", network.home / "roster.json", sites=signers)
    for site in joins:
        home, previous = network.sites[site], ("--previous", network.sites[site] / "previous.json")
        network.consilium("site", "accept", home, network.home / "roster.json", *previous, "--approve", told)


def wait_for_rounds(out: Path, count: int, *, sites: int | None = None) -> None:
    """Until `count` more rounds are finished than at the call, or than there are of so many `sites`."""

    def found() -> int:
        return sum(sites in (None, event["sites"]) for event in events(out, "round"))

    before = found()
    wait_until(lambda: found() >= before + count, f"{count} rounds", WAIT_S)


def records(network: Network, site: str, plan: Plan, record: str = "receipt") -> list[dict[str, Any]]:
    """What the ledger of a hospital holds about a plan: its receipts, or each `entry`."""
    bodies = read_bodies(network.sites[site] / LEDGER)
    return [body for body in bodies if body["record"] == record and body["step"]["plan_hash"] == plan.hash]


def assert_books_are_whole(network: Network, plan: Plan, out: Path, *, took_part: tuple[str, ...]) -> None:
    """Each ledger is whole, signed with the key on the hospital's card, and agrees with the coordinator's journal.

    took_part: hospitals that finished the run. No round was counted twice, and none was paid for twice but where the
    journal says that its sum was given up and begun anew.
    """
    rounds = list(range(1, plan.training.rounds + 1))
    assert [event["round"] for event in events(out, "round")] == rounds
    anew = Counter(event["round"] for event in events(out, "sum_aborted") if event["kind"] == "train")
    for site, home in network.sites.items():
        said = network.consilium("site", "receipts", "verify", home, "--card", f"{site}.card.json")
        assert "all of them as they were written" in said, said
    for site in took_part:
        paid = Counter(entry["step"]["round"] for entry in records(network, site, plan, "entry") if _trains(entry))
        left = {receipt["step"]["round"] for receipt in records(network, site, plan) if _trains(receipt)}
        assert set(paid) == left and max(left) == rounds[-1], site
        assert all(count <= 1 + anew[number] for number, count in paid.items()), f"{site}: {paid}, begun anew: {anew}"


def _trains(body: dict[str, Any]) -> bool:
    return body["step"]["kind"] == "train" and not body.get("code")


@dataclass(frozen=True)
class Credentials:
    """What somebody holds who has copied a hospital's network keys, opened."""

    trust: ssl.SSLContext
    address: str
    header: str

    @staticmethod
    def of(home: Path, scratch: Path) -> "Credentials":
        """Of the hospital in `home`, which has joined. scratch: a folder for a moment's files."""
        config = load_site(home)
        folder, key = Home.of(config), scratch / "tls.key"
        key.write_bytes(tls_key(config))
        trust = ssl.create_default_context(cafile=str(folder.authority))
        trust.load_cert_chain(folder.certificate, key)
        key.unlink()
        return Credentials(trust, load_connection(folder).address, key_header(public_node_key(config)))

    def status(self) -> int:
        """Of the gateway's answer to a request for messages: 403 if it does not let them pass."""
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPSConnection(host, int(port), context=self.trust, timeout=30)
        connection.request("POST", f"/v1/fleet/{PATHS[0]}", body=b"", headers={"Flwr-Public-Key": self.header})
        try:
            return connection.getresponse().status
        finally:
            connection.close()
