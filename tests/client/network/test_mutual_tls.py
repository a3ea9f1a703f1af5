"""A real SuperNode shows its certificate, says how it is connected, and ends where Flower's own would stay idle.

The places in Flower that it is put into: a release that moves one of them fails here.
"""

import inspect
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flwr.supercore.protobuf.client import ProtobufClient
from flwr.supernode import fleet_http_client, fleet_http_connection
from flwr.supernode.cli.flower_supernode import flower_supernode

from client import supernode
from client.network import contact
from client.network.contact import read_contact
from common.network import certificates
from tests.client.network.gatekeeper import Gatekeeper, gatekeeper
from tests.client.network.test_supervisor import DEADLINE_S, ROOT, runs, until
from tests.e2e.processes import free_ports
from tests.e2e.relay import Relay

Start = Callable[..., subprocess.Popen[bytes]]


def test_flower_makes_its_connection_where_this_expects_it() -> None:
    assert fleet_http_connection.FleetHttpClient is supernode.FleetHttpClient is fleet_http_client.FleetHttpClient
    source = inspect.getsource(fleet_http_connection.http_request_response)
    assert source.count("FleetHttpClient.from_server_address(") == 1
    flowers, own = (
        inspect.signature(each).parameters
        for each in (ProtobufClient.from_server_address, supernode.mutual_client("", "", supernode.Notes(None)))
    )
    assert list(flowers) == list(own)
    assert {"base_url", "interceptors", "verify", "retry_invoker"} <= set(inspect.signature(ProtobufClient).parameters)
    client = inspect.getsource(fleet_http_client)
    assert f'"{supernode.HEARTBEAT}"' in client and '"/v1/fleet/activate-node"' in client


def test_flowers_command_still_returns_when_its_loop_has_ended() -> None:
    """`main` ends the process then, because the local server's thread would keep it."""
    source = inspect.getsource(flower_supernode)
    assert source.rstrip().endswith(")") and "start_client_internal(" in source.rpartition("add_exit_handler")[2]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Gatekeeper]:
    with gatekeeper(tmp_path) as it:
        yield it


@pytest.fixture
def start(keeper: Gatekeeper) -> Iterator[Start]:
    """start(certificate="certificate.crt") starts a SuperNode with these files."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(certificate: str = "certificate.crt", key: str = "tls.key") -> subprocess.Popen[bytes]:
        folder = keeper.folder
        secret = folder / "secret"
        secret.write_text("secret")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            *(sys.executable, "-m", "client.supernode", "--superlink", keeper.address),
            *("--root-certificates", str(folder / "authority.crt")),
            *("--auth-supernode-private-key", str(folder / "node.key")),
            *("--client-certificate", str(folder / certificate), "--client-key", str(folder / key)),
            *("--state", str(folder / "state"), "--isolation", "process", "--host", "127.0.0.1", "--port", str(port)),
            *("--superexec-auth-secret-file", str(secret)),
        ]
        environment = os.environ | {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
        log = open(folder / "log", "ab")  # noqa: SIM115  closed with the process
        environment["FLWR_HOME"] = str(folder / "flwr")
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def code(keeper: Gatekeeper) -> str:
    found = read_contact(keeper.folder / "state")
    return "" if found is None else found.code


def test_it_shows_its_certificate_and_says_that_it_is_connected(keeper: Gatekeeper, start: Start) -> None:
    process = start()
    until(lambda: keeper.asked("pull-messages") > 1, "polls")
    assert {site for site, _ in keeper.seen} == {"north"}
    until(lambda: code(keeper) == contact.OK, "its word for that")
    keeper.answers["pull-messages"] = (503, b"")
    until(lambda: code(keeper) == contact.BUSY, "its word for that")
    keeper.answers["pull-messages"] = (200, b"")
    until(lambda: code(keeper) == contact.OK, "the next try")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 0 and keeper.asked("deactivate-node") == 1


@pytest.mark.parametrize("status", [429, 500])
def test_it_ends_where_flower_would_stay_without_asking_again(keeper: Gatekeeper, start: Start, status: int) -> None:
    process = start()
    until(lambda: keeper.asked("pull-messages"), "a poll")
    keeper.answers["pull-messages"] = (status, b"")
    assert process.wait(DEADLINE_S) == 1 and not runs(process.pid)


def test_a_certificate_that_the_gateway_refuses_ends_it_and_is_named(keeper: Gatekeeper, start: Start) -> None:
    now = certificates.expires((keeper.folder / "certificate.crt").read_bytes())
    key, authority = certificates.new_authority("other", now=now)
    request = certificates.certificate_request("north", (keeper.folder / "tls.key").read_bytes())
    other = certificates.site_certificate(key, authority, request, site="north", now=now)
    (keeper.folder / "other.crt").write_bytes(other)
    assert start("other.crt").wait(DEADLINE_S) == 1
    assert code(keeper) == contact.CERTIFICATE and keeper.seen == []


def test_a_gateway_of_another_authority_is_not_talked_to(keeper: Gatekeeper, start: Start) -> None:
    now = certificates.expires((keeper.folder / "certificate.crt").read_bytes())
    (keeper.folder / "authority.crt").write_bytes(certificates.new_authority("other", now=now)[1])
    assert start().wait(DEADLINE_S) == 1
    assert code(keeper) == contact.UNTRUSTED and keeper.seen == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ahead": timedelta(days=-400)}, "has expired, or this machine's clock is ahead ("),
        ({"ahead": timedelta(days=2)}, "is not valid yet, or this machine's clock is behind ("),
        ({"name": "elsewhere.example.org"}, "is for another name than the one that this hospital dials ("),
        ({"name": "127.0.0.2"}, "is for another name than the one that this hospital dials ("),
    ],
)
def test_what_is_wrong_with_the_gateways_own_certificate_is_told_apart(
    tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    with gatekeeper(tmp_path, **wrong) as keeper:
        found = supernode.probe(
            keeper.address,
            authority=(tmp_path / "authority.crt").read_bytes(),
            certificate=str(tmp_path / "certificate.crt"),
            key=str(tmp_path / "tls.key"),
            node_key=(tmp_path / "node.key").read_bytes(),
        )
    assert found.code == contact.UNTRUSTED and words in found.words and "coordinator" not in found.words
    assert keeper.seen == []


def test_a_handshake_that_is_cut_short_is_tried_again(keeper: Gatekeeper, start: Start) -> None:
    """A gateway that is killed, or a proxy with nobody behind it, is no wrong certificate."""
    behind, (port, nobody) = keeper.port, free_ports(2)
    keeper.port = port
    before = Relay(("127.0.0.1", port), ("127.0.0.1", nobody))
    process = start()
    until(lambda: code(keeper) == contact.UNREACHABLE, "its word for that")
    after = Relay(("127.0.0.1", nobody), ("127.0.0.1", behind))
    until(lambda: keeper.asked("pull-messages"), "a poll")
    until(lambda: code(keeper) == contact.OK, "its word for that")
    assert process.poll() is None
    for relay in (before, after):
        relay.close()
