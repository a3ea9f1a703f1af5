"""Certificates near their end and after it: `doctor` says so, `enrol` and `renew` mend it."""

import datetime
from pathlib import Path

import pytest

from common.errors import ConsiliumError
from common.network.certificates import check_certificate, new_authority, server_certificate, site_certificate
from common.network.documents import Invitation
from server.network.home import load_home
from tests.server.network.conftest import NAMES, Command, doctor, found, now, tree


def _sign_again(days: float, *, name: str = "gateway", since: float = 0.0) -> None:
    """A certificate of this server that ends in `days` days, made `since` days ago."""
    home = load_home(Path("home"))
    key, authority = home.key("authority").read_bytes(), home.certificate("authority").read_bytes()
    when = now() + datetime.timedelta(days=-since)
    whole = max(1, round(days + since))
    made = server_certificate(key, authority, home.server_names[name], now=when, days=whole)
    home.key(name).write_bytes(made[0])
    home.certificate(name).write_bytes(made[1])


def _old_authority(days_ago: int, days: int) -> None:
    """An authority that was made long ago, and servers that it signed today if it may."""
    home = load_home(Path("home"))
    then = now() - datetime.timedelta(days=days_ago)
    key, certificate = new_authority("Consilium authority of stroke", now=then, days=days)
    home.key("authority").write_bytes(key)
    home.certificate("authority").write_bytes(certificate)
    for name in ("gateway", "link"):
        pair = server_certificate(key, certificate, home.server_names[name], now=then, days=days)
        home.key(name).write_bytes(pair[0])
        home.certificate(name).write_bytes(pair[1])
    for name in home.site_names():
        request = home.site_request(name).certificate_request.encode()
        home.site_certificate(name).write_bytes(
            site_certificate(key, certificate, request, site=name, now=then, days=days)
        )


@pytest.mark.parametrize("name", ["gateway", "link"])
def test_certificates_that_end(name: str, consilium: Command) -> None:
    found(consilium, *NAMES)
    _old_authority(days_ago=100, days=1825)
    consilium("server", "enrol", "home")
    _sign_again(29, name=name)
    doctor(consilium, "warning", f"{name}.crt: ends on")
    _sign_again(-1, name=name, since=3)
    doctor(consilium, "error", f"{name}.crt: expired on")
    consilium("server", "renew", "home")
    assert "0 error(s), 0 warning(s)" in doctor(consilium, "ok", f"{name}.crt: valid until")


def test_a_hospitals_certificate_that_ends_is_renewed_by_enrol(consilium: Command) -> None:
    found(consilium, *NAMES)
    _old_authority(days_ago=100, days=1825)
    home = load_home(Path("home"))
    key, authority = home.key("authority").read_bytes(), home.certificate("authority").read_bytes()
    request = home.site_request("north").certificate_request.encode()
    for days, since, level, words in ((20, 0, "warning", "ends on"), (1, 3, "error", "expired on")):
        when = now() - datetime.timedelta(days=since)
        made = site_certificate(key, authority, request, site="north", now=when, days=days)
        home.site_certificate("north").write_bytes(made)
        doctor(consilium, level, f"north.crt: {words}")
        said = consilium("server", "enrol", "home")
        assert "north.invitation.json" in said
        assert "0 error(s), 0 warning(s)" in doctor(consilium)


def test_an_authority_near_its_end_and_after_it(consilium: Command) -> None:
    found(consilium, *NAMES)
    _old_authority(days_ago=1000, days=1100)
    doctor(consilium, "warning", "authority.crt: ends on")
    _old_authority(days_ago=1000, days=900)
    said = doctor(consilium, "error", "authority.crt: expired on")
    assert "consilium server renew" in said and "--authority" in said
    before = tree()
    for command in ("enrol", "renew"):
        with pytest.raises(ConsiliumError, match=r"authority\.crt: expired on .*renew .*home --authority` makes a new"):
            consilium("server", command, "home")
    assert tree() == before
    said = consilium("server", "renew", "home", "--authority")
    assert "The authority is a new one" in said and "must join again before it can connect" in said
    assert "0 error(s), 0 warning(s)" in doctor(consilium)


def test_renew_makes_new_certificates_and_invitations_for_the_same_roster(consilium: Command) -> None:
    those = found(consilium, *NAMES)
    before = tree()
    consilium("server", "renew", "home")
    after = tree()
    changed = {name for name in after if before.get(name) != after[name]}
    servers = {f"home/{part}" for n in ("gateway", "link") for part in (f"keys/{n}.key", f"certificates/{n}.crt")}
    sites = {f"home/{part}" for n in NAMES for part in (f"sites/{n}.crt", f"invitations/{n}.invitation.json")}
    assert changed == servers | sites and set(after) == set(before)
    authority = after["home/certificates/authority.crt"]
    for name, hospital in those.items():
        data = after[f"home/invitations/{name}.invitation.json"]
        certificate = Invitation.from_bytes(data, source=name).certificate.encode()
        check_certificate(certificate, authority_pem=authority, key_pem=hospital.tls, site=name, now=now())


def test_another_address_in_coordinator_toml(consilium: Command) -> None:
    found(consilium, *NAMES)
    path = Path("home/coordinator.toml")
    path.write_text(path.read_text().replace('address = "127.0.0.1', 'address = "federation.example.org'))
    doctor(consilium, "error", "does not hold the name federation.example.org that is dialled")
    consilium("server", "renew", "home")
    assert b"federation.example.org:19443" in Path("home/invitations/north.invitation.json").read_bytes()
    assert "0 error(s), 0 warning(s)" in doctor(consilium)
