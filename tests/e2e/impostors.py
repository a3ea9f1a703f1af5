"""Runs in the image with every volume of the demonstration: makes hospitals that must not get in, and revokes one.

    impostors.py make CASES      a folder below CASES for each, in a hospital's volume
    impostors.py revoke SITE     `consilium server enrol --revoke SITE`, as the coordinator's person would do it

With a hospital's volume only, in its container:

    impostors.py try CASES       each of them dials the gateway, as `consilium site check` does, and is refused
    impostors.py outside SITE    this hospital was revoked, and is refused
"""

import http.client
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from client.config import SiteConfig, load_site
from client.network import contact
from client.network.home import Connection, Home, load_connection
from client.network.keys import public_node_key, tls_key
from client.network.reach import ask
from common.files import write_atomic
from common.network import certificates
from common.network.address import host_and_port
from common.network.documents import SiteRequest
from common.network.node_key import key_header
from common.network.pem import one_certificate
from server.network.gateway_template import PATHS

KITS = Path("/kits")
NOW = datetime.now(UTC)
WAIT_S = 60.0
# folder -> how the exchange ends (client/network/contact.py), and what the gateway says where it says anything.
CASES = {
    "itself": (contact.OK, ""),
    "stranger": (contact.REFUSED, "no enrolled site has this certificate together with this node key"),
    "unregistered": (contact.UNKNOWN, ""),
    "other-authority": (contact.CERTIFICATE, "client certificate: FAILED"),
    "expired": (contact.CERTIFICATE, "client certificate: FAILED:certificate has expired"),
    "trusts-another": (contact.UNTRUSTED, ""),
}


def make(cases: Path) -> None:
    """A copy of the hospital `valley` for each case, so that keys and tables are real ones."""
    own = load_site(KITS / "valley")
    key = KITS / "authority" / "keys" / "authority.key"
    authority = key.read_bytes(), Home.of(own).authority.read_bytes()
    other = certificates.new_authority("Consilium authority of nobody", now=NOW)
    for name in ("itself", "expired", "other-authority", "trusts-another"):
        for part in ("site.toml", "keys", "network"):
            _copy(KITS / "valley" / part, cases / name / part)
    began = one_certificate(authority[1], source="").not_valid_before_utc
    _certify(load_site(cases / "expired"), authority, now=began + timedelta(seconds=1), days=0)
    _certify(load_site(cases / "other-authority"), other, now=NOW)
    write_atomic(Home.of(load_site(cases / "trusts-another")).authority, other[1])
    for name in ("stranger", "unregistered"):
        _newcomer(cases / name, own, authority)
    # The gateway's list knows this one, as after a slip of the operator's; Flower's SuperLink does not.
    request = SiteRequest.from_bytes((cases / "unregistered" / "unregistered.request.json").read_bytes(), source="")
    sites = KITS / "gateway" / "sites"
    write_atomic(sites / "unregistered.request.json", request.to_bytes())
    shutil.copy(cases / "unregistered" / "network" / "certificate.crt", sites / "unregistered.crt")


def revoke(site: str) -> None:
    """The coordinator's folder is put together from its parts, given the command, and taken apart again."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        for part in ("coordinator", "authority", "link", "gateway"):
            for name in ("coordinator.toml", "plan.json", "roster.json", "keys", "certificates", "sites"):
                _copy(KITS / part / name, home / name)
        (home / "sites" / "unregistered.request.json").unlink(missing_ok=True)
        (home / "sites" / "unregistered.crt").unlink(missing_ok=True)
        home.chmod(0o700)
        _consilium("server", "enrol", home, "--revoke", site)
        for part in ("coordinator", "link", "gateway"):
            for path in (KITS / part / "sites").iterdir():
                if not (home / "sites" / path.name).exists():
                    path.unlink()


def attempt(cases: Path) -> None:
    """Fails unless every one is answered as CASES says, also in the gateway's own words."""
    for name, (code, words) in CASES.items():
        config = load_site(cases / name)
        _expect(config, code)
        said = _gateway_says(config) if words else ""
        assert words in said, f"{name}: {said}"
        print(f"{name:16} {code:20} {said.strip()}")


def outside(site: Path) -> None:
    """Fails unless this hospital is refused, and its own running SuperNode says so."""
    config = load_site(site)
    _expect(config, contact.REFUSED)
    deadline = time.monotonic() + WAIT_S
    while (last := contact.read_contact(Home.of(config).state)) is None or last.code != contact.REFUSED:
        assert time.monotonic() < deadline, f"the running hospital still says: {last}"
        time.sleep(1)
    print(f"{config.name}: {last.words}")


def _expect(config: SiteConfig, code: str) -> None:
    """What the gateway answers now, or a moment later: it reads its files again every two seconds."""
    home, deadline = Home.of(config), time.monotonic() + WAIT_S
    while (answer := ask(config, home, load_connection(home).address)).code != code:
        assert time.monotonic() < deadline, f"{home.folder}: expected {code}, found {answer}"
        time.sleep(1)


def _gateway_says(config: SiteConfig) -> str:
    home = Home.of(config)
    trust = ssl.create_default_context(cafile=str(home.authority))
    with tempfile.NamedTemporaryFile() as key:
        key.write(tls_key(config))
        key.flush()
        trust.load_cert_chain(home.certificate, key.name)
    host, port = host_and_port(load_connection(home).address)
    connection = http.client.HTTPSConnection(host, port, context=trust, timeout=10)
    header = {"Flwr-Public-Key": key_header(public_node_key(config))}
    connection.request("POST", f"/v1/fleet/{PATHS[0]}", body=b"", headers=header)
    return connection.getresponse().read().decode()


def _newcomer(folder: Path, like: SiteConfig, authority: tuple[bytes, bytes]) -> None:
    """A hospital with a certificate of the federation's authority that no roster and no list has heard of."""
    folder.mkdir(parents=True)
    source = like.source.read_text().replace(f'"{like.name}"', f'"{folder.name}"')
    (folder / "site.toml").write_text(source)
    _consilium("site", "init", folder, "--out", folder / "card.json")
    config = load_site(folder)
    home, connection = Home.of(config), load_connection(Home.of(like))
    write_atomic(home.authority, authority[1])
    _certify(config, authority, now=NOW)
    joined = Connection(federation=connection.federation, site=config.name, address=connection.address)
    write_atomic(home.connection, joined.to_bytes())


def _certify(config: SiteConfig, authority: tuple[bytes, bytes], *, now: datetime, days: int = 397) -> None:
    """A certificate for the hospital's own key, issued `now` for so many days."""
    request = certificates.certificate_request(config.name, tls_key(config))
    made = certificates.site_certificate(*authority, request, site=config.name, now=now, days=days)
    write_atomic(Home.of(config).certificate, made)


def _consilium(*words: object) -> None:
    subprocess.run(["consilium", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


COMMANDS = {"make": make, "try": attempt, "outside": outside}

if __name__ == "__main__":
    command, argument = sys.argv[1:]
    revoke(argument) if command == "revoke" else COMMANDS[command](Path(argument))
