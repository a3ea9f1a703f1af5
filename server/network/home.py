"""The coordinator's folder: where everything in it is, and coordinator.toml, which says who it serves and where.

Only its owner may enter it. What is secret is in keys/ and nowhere else.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from common.errors import ConsiliumError
from common.files import exists, read_bytes
from common.network.address import host_and_port, is_ip
from common.network.documents import Address, Name, SiteRequest
from common.plan.base import Section, matching
from common.plan.load import first_problem
from server.network.change import finish

SETTINGS = "coordinator.toml"
LINK_HOST, LINK_PORT = "127.0.0.1", 9092
LINK_NAMES = ("superlink", "localhost", "127.0.0.1")
"""Names in the SuperLink's certificate: only the gateway and the coordinator's own commands dial it."""
SERVERS = ("gateway", "link")
_REQUEST = ".request.json"


class Settings(Section):
    """coordinator.toml. address: what hospitals dial. listen: where the gateway listens on this machine.

    link_host: where gateway and operator find the SuperLink; another machine only where each part has a container.
    """

    federation: Name
    address: Address
    listen: Address
    link_port: Annotated[int, Field(ge=1024, le=65535)] = LINK_PORT
    link_host: Annotated[
        str, matching(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", "a host name or IPv4 address: letters, digits, '.' and '-'")
    ] = LINK_HOST

    @model_validator(mode="after")
    def _check(self) -> Self:
        host, port = host_and_port(self.listen)
        if not is_ip(host):
            raise ValueError(
                f"listen: {host} is a name; it has to be an IP address of this machine, or 0.0.0.0 for all"
            )
        if port == self.link_port:
            raise ValueError(f"link_port: {port} is where the gateway listens; choose another for the SuperLink")
        return self


@dataclass(frozen=True)
class Home:
    """A coordinator's folder that is there and whose coordinator.toml is right; its other files may be missing."""

    folder: Path
    settings: Settings

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def coordinator_key(self) -> Path:
        return self.keys / "coordinator.key"

    @property
    def superexec_secret(self) -> Path:
        return self.keys / "superexec.secret"

    @property
    def sites(self) -> Path:
        """Requests and certificates of the hospitals that may connect, and of no other."""
        return self.folder / "sites"

    @property
    def former(self) -> Path:
        """Requests of hospitals that left or were revoked, and requests that were replaced."""
        return self.folder / "former"

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def plan_text(self) -> Path:
        return self.folder / "federation.toml"

    @property
    def proposal(self) -> Path:
        return self.folder / "proposal.json"

    @property
    def roster(self) -> Path:
        return self.folder / "roster.json"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def key(self, name: str) -> Path:
        """Private key of `authority`, `gateway` or `link`."""
        return self.keys / f"{name}.key"

    def certificate(self, name: str) -> Path:
        """Certificate of `authority`, `gateway` or `link`."""
        return self.folder / "certificates" / f"{name}.crt"

    def request(self, site: str) -> Path:
        return self.sites / f"{site}{_REQUEST}"

    def site_certificate(self, site: str) -> Path:
        return self.sites / f"{site}.crt"

    def invitation(self, site: str) -> Path:
        return self.folder / "invitations" / f"{site}.invitation.json"

    def roster_of(self, number: int) -> Path:
        """Where the signed roster with this number is kept after another has followed it."""
        return self.folder / "rosters" / f"roster-{number}.json"

    def site_names(self) -> tuple[str, ...]:
        """The hospitals whose requests are accepted, sorted."""
        return tuple(sorted(path.name.removesuffix(_REQUEST) for path in self.sites.glob(f"*{_REQUEST}")))

    def site_request(self, site: str) -> SiteRequest:
        """The request of `site` as it was accepted. Raises ConsiliumError if it is absent, damaged or another's."""
        path = self.request(site)
        request = SiteRequest.from_bytes(read_bytes(path), source=str(path))
        if request.site != site:
            raise ConsiliumError(f"{path}: is the request of {request.site!r}, but its name says {site!r}.")
        return request

    @property
    def server_names(self) -> dict[str, tuple[str, ...]]:
        """Names that the certificates of `gateway` and `link` have to hold."""
        return {"gateway": (host_and_port(self.settings.address)[0],), "link": LINK_NAMES}


def load_home(folder: Path) -> Home:
    """The coordinator's folder at `folder`, after what a command cut short left undone. Raises ConsiliumError."""
    path = folder / SETTINGS
    finish(folder)
    if not exists(path):
        raise ConsiliumError(f"{folder}: is no coordinator's folder, it has no {SETTINGS}; `consilium server init`.")
    return Home(folder.absolute(), read_settings(path))


def read_settings(path: Path) -> Settings:
    """coordinator.toml. Raises ConsiliumError, one sentence that names the key."""
    data = read_bytes(path)
    try:
        content = tomllib.loads(data.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise ConsiliumError(f"{path}: not valid TOML: {error}.") from None
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise ConsiliumError(f"{path}: {first_problem(error, content)}") from None


def settings_text(settings: Settings) -> str:
    """coordinator.toml with these settings, and for each what it is."""
    return f"""\
# The coordinator of one federation of hospitals. After a change here: `consilium server renew` and new invitations.
federation = "{settings.federation}"

# HOST:PORT that hospitals dial. The host stands in the gateway's certificate.
address = "{settings.address}"

# Where the gateway listens on this machine: the only port that hospitals have to reach.
listen = "{settings.listen}"

# Where the SuperLink listens, on 127.0.0.1 only. Nobody but this machine may reach it.
link_port = {settings.link_port}
"""
