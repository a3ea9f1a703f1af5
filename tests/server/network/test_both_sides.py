"""Coordinator and hospitals by their real commands: a first roster, then one hospital joins and another leaves."""

from pathlib import Path

import pytest

from client.secure import keys
from common.errors import ConsiliumError
from tests.client.conftest import digits, make_site, site
from tests.server.network.conftest import NAMES, Command, init, write_plan


def _request(consilium: Command, name: str) -> str:
    make_site(name)
    consilium("site", "init", name)
    return f"{name}/{name}.request.json"


def _join(consilium: Command, *names: str) -> None:
    for name in names:
        consilium("site", "join", name, f"home/invitations/{name}.invitation.json")


def _sign(consilium: Command, *names: str) -> list[str]:
    for name in names:
        consilium("site", "sign", name, f"{name}/proposal.json", "--approve", digits(f"{name}/proposal.json"))
    return [f"{name}.signature.json" for name in names]


def _accept(consilium: Command, *names: str, previous: str = "") -> None:
    for name in names:
        more = ("--previous", f"{name}/{previous}") if previous else ()
        consilium("site", "accept", name, "home/roster.json", *more, "--approve", digits("home/roster.json"))
        assert keys.load_roster(site(name)).roster.sites == keys.load_roster(site(names[0])).roster.sites


def _invite(consilium: Command) -> list[str]:
    """The coordinator's folder and the first hospitals, which have joined: their requests."""
    init(consilium)
    requests = [_request(consilium, name) for name in NAMES]
    consilium("server", "enrol", "home", *requests, "--plan", write_plan())
    _join(consilium, *NAMES)
    return requests


def _found(consilium: Command) -> list[str]:
    """As `_invite`, and the hospitals have signed and accepted their first roster."""
    requests = _invite(consilium)
    consilium("server", "collect", "home", *_sign(consilium, *NAMES))
    _accept(consilium, *NAMES)
    return requests


def test_from_nothing_to_a_second_roster(consilium: Command) -> None:
    _found(consilium)
    consilium("server", "enrol", "home", _request(consilium, "east"))
    _join(consilium, *NAMES, "east")
    consilium("server", "collect", "home", *_sign(consilium, *NAMES))
    _accept(consilium, *NAMES)
    _accept(consilium, "east", previous="previous.json")
    consilium("server", "enrol", "home", "--leaves", "west")
    others = ("east", "north", "south")
    _join(consilium, *others)
    consilium("server", "collect", "home", *_sign(consilium, *others))
    _accept(consilium, *others)
    assert keys.load_roster(site("east")).roster.number == 3
    assert "0 error(s), 0 warning(s)" in consilium("server", "doctor", "home")


def test_renewed_certificates_and_a_renewed_authority_reach_the_hospital(consilium: Command) -> None:
    _invite(consilium)
    consilium("server", "renew", "home")
    _join(consilium, *NAMES)
    assert Path("north/network/certificate.crt").read_bytes() == Path("home/sites/north.crt").read_bytes()
    told = consilium("server", "renew", "home", "--authority").splitlines()
    shown = next(line for line in told if line.startswith("  ") and len(line.split()) == 16)
    before = Path("north/network/authority.crt").read_bytes()
    with pytest.raises(ConsiliumError, match="nothing was changed"):
        consilium("site", "join", "north", "home/invitations/north.invitation.json", "--approve", "0" * 64)
    assert Path("north/network/authority.crt").read_bytes() == before
    consilium("site", "join", "north", "home/invitations/north.invitation.json", "--approve", shown)
    assert Path("north/network/authority.crt").read_bytes() == Path("home/certificates/authority.crt").read_bytes()


def test_a_renewed_signing_key_travels_in_a_request(consilium: Command) -> None:
    requests = _found(consilium)
    consilium("site", "init", "north", "--renew")
    said = consilium("server", "enrol", "home", requests[0])
    assert "north has a new signing key, which its old one has signed" in said
    _join(consilium, *NAMES)
    consilium("server", "collect", "home", *_sign(consilium, "south", "west", "north"))
    _accept(consilium, *NAMES)
    assert keys.load_signing_key(site("north")).verify_key in keys.load_roster(site("south")).roster.keys
