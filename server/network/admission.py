"""Which requests are accepted: each whole, each of another hospital, no key that stands for somebody else.

The card inside a request is signed, its network keys are not: whoever has seen a card could send it again with network
keys of his own. So keys of a hospital that is enrolled change only where a person says so.
"""

import base64
import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.errors import ConsiliumError
from common.files import read_bytes
from common.network.documents import SiteRequest
from common.network.pem import p256_request
from common.secagg.json_view import from_json
from common.secagg.primitives import verify
from common.secagg.roster import EnrolCard, card_fingerprint
from server.network.home import Home

REVOKED = ".revoked.json"


@dataclass(frozen=True)
class Applicant:
    """A request whose parts belong together. source: its file, for messages."""

    source: Path
    request: SiteRequest
    card: EnrolCard

    @property
    def site(self) -> str:
        return self.request.site

    @property
    def keys(self) -> dict[str, bytes]:
        """What each of the hospital's public keys is called -> the key."""
        pem = self.request.certificate_request.encode()
        tls = p256_request(pem, source=str(self.source)).public_key()
        return {
            "signing key": self.card.card.verify_key,
            "node key": self.request.node_key.encode(),
            "TLS key": tls.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        }

    @property
    def fingerprints(self) -> tuple[str, str]:
        """Of the signing key, in digits, and of the node key, as `ssh-keygen -lf node.key.pub` prints it."""
        blob = base64.b64decode(self.request.node_key.split()[1])
        node = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        return card_fingerprint(self.site, self.card.card.verify_key), f"SHA256:{node}"


def read_applicant(path: Path) -> Applicant:
    """The request in `path`. Raises ConsiliumError if it is damaged, or if its parts are of several hospitals."""
    request = SiteRequest.from_bytes(read_bytes(path), source=str(path))
    card = from_json(EnrolCard, json.dumps(request.card).encode(), source=f"{path}: card")
    again = f"; ask {request.site} for its request again"
    if card.card.site != request.site:
        raise ConsiliumError(f"{path}: is of {request.site!r}, but the card in it is of {card.card.site!a}{again}.")
    if not verify(card.card.verify_key, "enrol", card.card, card.signature):
        raise ConsiliumError(f"{path}: the card in it is not signed with its own key{again}.")
    subject = p256_request(request.certificate_request.encode(), source=str(path)).subject.rfc4514_string()
    if subject != f"CN={request.site}":
        raise ConsiliumError(f"{path}: is of {request.site!r}, but asks for a certificate of {subject!a}{again}.")
    return Applicant(path, request, card)


def read_applicants(paths: Sequence[Path]) -> dict[str, Applicant]:
    """By site. Raises ConsiliumError where two files are different requests of one hospital."""
    found: dict[str, Applicant] = {}
    for path in paths:
        applicant = read_applicant(path)
        first = found.setdefault(applicant.site, applicant)
        if first.request != applicant.request:
            raise ConsiliumError(
                f"{first.source} and {path} are both requests of {applicant.site!r}; each hospital sends one: "
                "ask it which it is."
            )
    return found


def enrolled(home: Home) -> dict[str, Applicant]:
    """The hospitals whose requests were accepted before. Raises ConsiliumError if one is damaged."""
    return {name: read_applicant(home.request(home.site_request(name).site)) for name in home.site_names()}


def check_keys(home: Home, applicants: Collection[Applicant]) -> None:
    """Raises ConsiliumError where two hospitals share a key, or where one was revoked."""
    owners: dict[bytes, Applicant] = {}
    for applicant in applicants:
        for what, key in applicant.keys.items():
            other = owners.setdefault(key, applicant)
            if other is not applicant:
                raise ConsiliumError(
                    f"{applicant.source}: {applicant.site} has the {what} of {other.site} ({other.source}); "
                    "every hospital makes keys of its own."
                )
    for path, revoked in _revoked(home):
        for what, key in revoked.keys.items():
            if key in owners:
                raise ConsiliumError(
                    f"{owners[key].source}: its {what} was revoked ({path.name}) and is never accepted again; "
                    f"{owners[key].site} has to make new keys."
                )


def change_of(old: Applicant | None, new: Applicant) -> str:
    """What `new` is beside the request accepted before: `new`, `same`, `renewed` (as its old key says) or `other`."""
    if old is None:
        return "new"
    different = {what for what, key in new.keys.items() if key != old.keys[what]}
    if not different:
        return "same"
    signed = verify(old.card.card.verify_key, "enrol", new.card.card, new.card.renewal)
    return "renewed" if different == {"signing key"} and signed else "other"


def _revoked(home: Home) -> Iterator[tuple[Path, Applicant]]:
    for path in sorted(home.former.glob(f"*{REVOKED}")):
        yield path, read_applicant(path)
