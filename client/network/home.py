"""Where a hospital keeps what belongs to its connection: folders beside its site.toml.

network/node.key       P-384, encrypted at rest: the SuperNode signs every request with it; node.key.pub is public
network/tls.key        P-256, encrypted at rest: the client's key of mutual TLS
network/authority.crt  network/certificate.crt  network/connection.json      from the invitation
plan.json  proposal.json  previous.json     from the invitation, for a person to decide on
state/                 what the running processes say of themselves; nothing secret, nothing of patients
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.config import PLAN_FILE, SiteConfig
from common.errors import ConsiliumError
from common.files import exists, read_bytes
from common.network.documents import Address, Document, Name


class Connection(Document):
    """connection.json: which federation this hospital belongs to, and the HOST:PORT of its gateway."""

    format: Literal["consilium-connection-1"] = "consilium-connection-1"
    federation: Name
    site: Name
    address: Address


@dataclass(frozen=True)
class Home:
    """The paths of one hospital. folder: the one that holds site.toml."""

    folder: Path

    @classmethod
    def of(cls, config: SiteConfig) -> "Home":
        return cls(config.source.parent)

    @property
    def node_key(self) -> Path:
        return self.folder / "network" / "node.key"

    @property
    def tls_key(self) -> Path:
        return self.folder / "network" / "tls.key"

    @property
    def node_key_public(self) -> Path:
        return self.folder / "network" / "node.key.pub"

    @property
    def authority(self) -> Path:
        return self.folder / "network" / "authority.crt"

    @property
    def certificate(self) -> Path:
        return self.folder / "network" / "certificate.crt"

    @property
    def connection(self) -> Path:
        return self.folder / "network" / "connection.json"

    @property
    def plan(self) -> Path:
        return self.folder / PLAN_FILE

    @property
    def proposal(self) -> Path:
        return self.folder / "proposal.json"

    @property
    def previous(self) -> Path:
        return self.folder / "previous.json"

    @property
    def state(self) -> Path:
        return self.folder / "state"


def load_connection(home: Home) -> Connection:
    """The coordinator that this hospital has joined. Raises ConsiliumError where it has joined none."""
    if not exists(home.connection):
        raise ConsiliumError(
            f"{home.connection}: no such file; this hospital has not joined yet: "
            f"`consilium site join {home.folder} INVITATION`, with the file that the coordinator sent."
        )
    return Connection.from_bytes(read_bytes(home.connection), source=str(home.connection))
