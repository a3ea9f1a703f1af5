"""Hospitals as the coordinator sees them: the files that they send, made with keys of their own."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.network.certificates import certificate_request, new_key
from common.network.documents import SiteRequest
from common.network.node_key import new_node_key
from common.secagg.json_view import from_json, to_json
from common.secagg.messages import SignedRoster
from common.secagg.primitives import SigningKey
from common.secagg.roster import enrol, sign


@dataclass
class Hospital:
    name: str
    signing: SigningKey = field(default_factory=lambda: SigningKey.new(os.urandom))
    node: tuple[bytes, bytes] = field(default_factory=new_node_key)
    tls: bytes = field(default_factory=new_key)
    old: SigningKey | None = None

    def request(self, path: str = "", **changes: Any) -> str:
        """Write NAME.request.json, with other values for the keys of `changes`."""
        content = {
            "site": self.name,
            "card": json.loads(to_json(enrol(self.name, self.signing, old=self.old))),
            "node_key": self.node[1].decode(),
            "certificate_request": certificate_request(self.name, self.tls).decode(),
        }
        file = Path(path or f"{self.name}.request.json")
        file.write_bytes(SiteRequest(**content | changes).to_bytes())
        return str(file)

    def sign(self, roster: str) -> str:
        """Write NAME.signature.json for the proposal in the file `roster`."""
        proposal = from_json(SignedRoster, Path(roster).read_bytes(), source=roster)
        file = Path(f"{self.name}.signature.json")
        file.write_bytes(to_json(sign(proposal.roster, site=self.name, key=self.old or self.signing)))
        return str(file)
