"""A gateway for tests: a real nginx, of a user without rights, before the SuperLink's place-holder (upstream.py)."""

import datetime
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConsiliumError
from common.files import write_atomic, write_private
from common.network import certificates
from common.network.documents import SiteRequest
from common.network.node_key import key_header, new_node_key
from server.network import gateway
from server.network.home import Home, Settings
from tests.server.network.upstream import DEADLINE_S, Upstream, until

NOBODY = 65534
PULL = "/v1/fleet/pull-messages"


def require_nginx() -> None:
    """One line and a skip where nginx is not installed; with CONSILIUM_REQUIRE_NGINX=1 it has to be."""
    try:
        gateway.find_nginx()
    except ConsiliumError as error:
        if os.environ.get("CONSILIUM_REQUIRE_NGINX") == "1":
            pytest.fail(f"nginx is required: {error}")
        pytest.skip(str(error))


@dataclass
class Site:
    """An enrolled hospital as its gateway sees it. header: what it sends as flwr-public-key."""

    name: str
    header: str
    key: Path
    certificate: Path

    def context(self, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        return client_context(self.certificate, self.key, **versions)


@dataclass
class Stand:
    """The coordinator's folder, its nginx and its SuperLink's place-holder. Ten days old, so that things expire."""

    folder: Path
    home: Home
    upstream: Upstream
    made: datetime.datetime
    port: int
    process: subprocess.Popen[bytes] | None = None
    sites: dict[str, Site] = field(default_factory=dict)

    def enrol(self, name: str) -> Site:
        """What enrolment leaves in the coordinator's folder; call `renew` afterwards."""
        key, (_, public) = certificates.new_key(), new_node_key()
        request = SiteRequest(
            site=name,
            card={},
            node_key=public.decode(),
            certificate_request=certificates.certificate_request(name, key).decode(),
        )
        self.home.sites.mkdir(exist_ok=True)
        self.home.request(name).write_bytes(request.to_bytes())
        certificate = self.issue(key, name)
        self.home.site_certificate(name).write_bytes(certificate)
        site = Site(name, key_header(public.decode()), *self.keep(name, key, certificate))
        self.sites[name] = site
        return site

    def issue(self, key: bytes, name: str, *, days_from_start: float = 9, days: int = 30) -> bytes:
        """A certificate of this federation's authority; the default begins yesterday."""
        authority_key, authority = self.home.key("authority"), self.home.certificate("authority")
        return certificates.site_certificate(
            authority_key.read_bytes(),
            authority.read_bytes(),
            certificates.certificate_request(name, key),
            site=name,
            now=self.made + datetime.timedelta(days=days_from_start),
            days=days,
        )

    def keep(self, name: str, key: bytes, certificate: bytes) -> tuple[Path, Path]:
        """Write a client's key and certificate where only the test looks."""
        folder = self.folder / "clients"
        folder.mkdir(exist_ok=True)
        paths = folder / f"{name}.key", folder / f"{name}.crt"
        for path, data in zip(paths, (key, certificate), strict=True):
            path.write_bytes(data)
        return paths

    def start(self) -> None:
        self.write()
        self.process = subprocess.Popen(
            gateway.command(self.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.folder / "stderr", "ab"),  # noqa: SIM115 -- nginx' own
            env={"PATH": os.environ["PATH"]},
            **_without_rights(),
        )
        until(self._answers, "nginx listens")

    def reload(self) -> None:
        """Write, reload, and wait for the last of the old workers to end."""
        self.write()
        old = self.workers()
        assert gateway.reload(self.home)
        until(lambda: not old & self.workers() and len(self.workers()) == len(old), "new workers")

    def workers(self) -> set[int]:
        pid = self.process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def replace_upstream(self, certificate: Path, key: Path) -> None:
        """Another server takes the SuperLink's port."""
        self.upstream.stop()
        self.upstream = Upstream(self.upstream.port)
        self.upstream.start(certificate, key)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)
        self.upstream.stop()
        shutil.rmtree(self.folder)

    def post(
        self,
        site: Site,
        path: str = PULL,
        *,
        key_of: Site | None = None,
        body: bytes = b"",
        context: ssl.SSLContext | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of the answer to one request on a connection of its own. key_of: whose node key is shown."""
        connection = self.connection(site, context=context)
        try:
            connection.request("POST", path, body, {"Flwr-Public-Key": (key_of or site).header})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def connection(self, site: Site, *, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        context = context or site.context()
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE_S, context=context)

    def raw(self, site: Site, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A connection on which a test writes bytes of its own."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)
        return (context or site.context()).wrap_socket(plain, server_hostname="127.0.0.1")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.stderr()
        with socket.socket() as plain:
            return plain.connect_ex(("127.0.0.1", self.port)) == 0

    def write(self) -> None:
        """What the coordinator does. Where the tests run as root, nginx and its folder are a user's without rights."""
        self._give_to(0)
        gateway.write(self.home)
        self._give_to(NOBODY)

    def _give_to(self, user: int) -> None:
        if os.geteuid() == 0:
            for path in (self.home.folder, *self.home.folder.rglob("*")):
                os.chown(path, user, user)


def client_context(certificate: Path | None, key: Path | None, **versions: ssl.TLSVersion) -> ssl.SSLContext:
    """How a client connects: it trusts whatever answers, because the gateway is what is tested here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def make_stand(*, names: tuple[str, ...] = ("north", "south")) -> Stand:
    """A running gateway for these sites. The caller stops it."""
    made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    folder, upstream, port = Path(tempfile.mkdtemp(prefix="consilium-gateway-")), Upstream(), _free_port()
    folder.chmod(0o711)  # the user without rights has to come through
    address = f"127.0.0.1:{port}"
    settings = Settings(federation="test", address=address, listen=address, link_port=upstream.port)
    home = Home(folder / "home", settings)
    fill(home, made)
    stand = Stand(folder, home, upstream, made, port)
    upstream.start(home.certificate("link"), home.key("link"))
    for name in names:
        stand.enrol(name)
    try:
        stand.start()
    except BaseException:
        stand.stop()
        raise
    return stand


def process_status(pid: int) -> dict[str, list[str]]:
    """/proc/PID/status, and `files`, what the process has open; empty if there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        files = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)} | {"files": files}


def fill(home: Home, now: datetime.datetime) -> None:
    """The coordinator's keys and certificates."""
    authority = certificates.new_authority("Consilium authority of test", now=now)
    pairs = {
        name: certificates.server_certificate(*authority, names, now=now) for name, names in home.server_names.items()
    }
    for name, (key, certificate) in ({"authority": authority} | pairs).items():
        write_private(home.key(name), key)
        write_atomic(home.certificate(name), certificate)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _without_rights() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}
