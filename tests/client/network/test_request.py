"""`consilium site init`: keys that stay, encrypted, and a request that says nothing but public keys."""

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from client.at_rest.files import is_sealed
from client.network import keys
from client.network.home import Home
from common.errors import ConsiliumError
from common.network.documents import SiteRequest
from common.network.pem import p256_request
from tests.client.network.conftest import Command, invite, make_site, site, tree


def read_request() -> SiteRequest:
    path = Path("north/north.request.json")
    return SiteRequest.from_bytes(path.read_bytes(), source=str(path))


def test_the_request_holds_the_public_halves_of_the_keys_that_stay(consilium: Command) -> None:
    make_site("north")
    said = consilium("site", "init", "north")
    request, node = read_request(), load_ssh_private_key(keys.node_key(site()), None)
    assert isinstance(node, ec.EllipticCurvePrivateKey) and node.curve.name == "secp384r1"
    assert request.node_key == keys.public_node_key(site()) and keys.node_fingerprint(site()) in said
    tls = load_pem_private_key(keys.tls_key(site()), None)
    asked = p256_request(request.certificate_request.encode(), source="request")
    assert asked.public_key() == tls.public_key() and asked.subject.rfc4514_string() == "CN=north"
    assert request.card == json.loads(Path("north.card.json").read_bytes())


def test_private_keys_are_encrypted_on_the_disk_and_for_their_owner_only(consilium: Command) -> None:
    make_site("north")
    consilium("site", "init", "north")
    home = Home.of(site())
    for path in (home.node_key, home.tls_key):
        assert is_sealed(path.read_bytes()) and stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = (keys.node_key(site()), keys.tls_key(site()))
    for content in tree(".").values():
        assert b"PRIVATE KEY" not in content and not any(secret[40:80] in content for secret in secrets)


def test_init_again_changes_no_byte(consilium: Command) -> None:
    make_site("north")
    consilium("site", "init", "north")
    before = tree(".")
    consilium("site", "init", "north")
    assert tree(".") == before


@pytest.mark.parametrize("damage", ["{}", "not JSON", ""])
def test_a_damaged_request_is_made_again(consilium: Command, damage: str) -> None:
    make_site("north")
    consilium("site", "init", "north")
    before = read_request()
    Path("north/north.request.json").write_text(damage)
    consilium("site", "init", "north")
    assert read_request().model_copy(update={"certificate_request": ""}) == before.model_copy(
        update={"certificate_request": ""}
    )


def test_a_node_key_whose_public_half_is_lost_is_replaced_before_joining_and_never_after(consilium: Command) -> None:
    make_site("north")
    consilium("site", "init", "north")
    first = keys.public_node_key(site())
    Home.of(site()).node_key_public.unlink()  # what a crash between the two files leaves
    consilium("site", "init", "north")
    assert keys.public_node_key(site()) != first and read_request().node_key == keys.public_node_key(site())
    consilium("site", "join", "north", invite(consilium)["north"])
    for path in (Home.of(site()).node_key, Home.of(site()).tls_key):
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(ConsiliumError, match=f"{path.name}: cannot be used, though the coordinator knows it"):
            consilium("site", "init", "north")
        path.write_bytes(kept)
        path.chmod(0o600)
    before = tree("north")
    consilium("site", "init", "north")
    assert tree("north") == before


@pytest.mark.parametrize("damage", [b"", b"null", b"\xff\x00", b"ecdsa-sha2-nistp384 AAAA", b"ssh-ed25519 AAAA\nmore"])
def test_a_damaged_public_half_is_named_and_replaced_once_it_is_away(consilium: Command, damage: bytes) -> None:
    make_site("north")
    consilium("site", "init", "north")
    path = Home.of(site()).node_key_public
    path.write_bytes(damage)
    with pytest.raises(ConsiliumError, match=r"node\.key\.pub: is damaged, .* or move it away\.$"):
        consilium("site", "init", "north")
    path.rename("away")
    consilium("site", "init", "north")
    assert read_request().node_key == keys.public_node_key(site())
