"""NAME.request.json: a hospital's public keys, for the coordinator. Made again only where a key has changed."""

import json
from pathlib import Path

from client.config import SiteConfig
from client.network.home import Home
from client.network.keys import public_node_key, tls_key
from client.secure.keys import enrol_card
from common.errors import ConsiliumError
from common.files import exists, read_bytes, write_atomic
from common.network.certificates import certificate_request
from common.network.documents import SiteRequest
from common.network.pem import p256_key, p256_request
from common.secagg.json_view import to_json


def request_path(config: SiteConfig) -> Path:
    return Home.of(config).folder / f"{config.name}.request.json"


def write_request(config: SiteConfig) -> Path:
    """The request's file, which is left to the byte where it already says the same. Raises ConsiliumError."""
    path, key = request_path(config), tls_key(config)
    made = SiteRequest(
        site=config.name,
        card=json.loads(to_json(enrol_card(config))),
        node_key=public_node_key(config),
        certificate_request=certificate_request(config.name, key).decode(),
    )
    if not (exists(path) and _says_the_same(path, made, key)):
        write_atomic(path, made.to_bytes())
    return path


def _says_the_same(path: Path, made: SiteRequest, key: bytes) -> bool:
    """Whether the request in `path` is `made`, but for the signature in it, which is another one each time."""
    try:
        there = SiteRequest.from_bytes(read_bytes(path), source=str(path))
        asked = p256_request(there.certificate_request.encode(), source=str(path))
    except ConsiliumError:
        return False
    same = there.model_copy(update={"certificate_request": made.certificate_request}) == made
    return same and asked.public_key() == p256_key(key, source=str(path)).public_key()
