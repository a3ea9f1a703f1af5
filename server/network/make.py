"""`consilium server init`: the coordinator's folder with its keys and certificates, all of it or nothing."""

import os
import secrets
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from common.errors import ConsiliumError
from common.files import exists
from common.network import certificates
from common.network.address import host_and_port, is_ip
from common.plan.load import first_problem
from common.secagg.key_pem import key_to_pem
from common.secagg.primitives import SigningKey
from server.network.change import Change, alone, finish, is_empty
from server.network.home import SERVERS, SETTINGS, Home, Settings, load_home, settings_text


def settings_for(federation: str, address: str, *, listen: str | None, link_port: int | None) -> Settings:
    """Settings from the command line. listen: without it, the port of `address` on every interface, or on loopback
    where that is what hospitals dial. Raises ConsiliumError.
    """
    content = {"federation": federation, "address": address, "listen": listen or _listen(address)}
    try:
        return Settings.model_validate(content if link_port is None else content | {"link_port": link_port})
    except ValidationError as error:
        raise ConsiliumError(f"consilium server init: {first_problem(error, content)}") from None


def make_home(folder: Path, settings: Settings, *, given: Collection[str], now: datetime) -> tuple[Home, bool]:
    """The coordinator's folder, and whether it was made now; one that is there already stays as it is.

    given: the settings that a person named. Raises ConsiliumError where the folder there has others, or is none.
    """
    finish(folder)
    if exists(folder / SETTINGS):
        home = load_home(folder)
        _check_same(home, settings, given)
        return home, False
    if exists(folder) and not is_empty(folder):
        raise ConsiliumError(f"{folder}: is not empty and holds no {SETTINGS}; choose a folder that is not there yet.")
    _own(folder)
    with alone(folder):
        if not exists(folder / SETTINGS):  # another `init` may have been faster
            home = Home(folder.absolute(), settings)
            change = Change(home.folder)
            change.write(folder / SETTINGS, settings_text(settings).encode())
            change.write(home.coordinator_key, key_to_pem(SigningKey.new(os.urandom)), private=True)
            change.write(home.superexec_secret, secrets.token_urlsafe(32).encode(), private=True)
            add_authority(change, home, now=now)
            change.commit()
    home = load_home(folder)
    _check_same(home, settings, given)
    return home, True


def add_authority(change: Change, home: Home, *, now: datetime) -> tuple[bytes, bytes]:
    """Add a new authority, and servers' certificates that it signed, to `change`. Gives its key and certificate."""
    key, certificate = certificates.new_authority(f"Consilium authority of {home.settings.federation}"[:64], now=now)
    change.write(home.key("authority"), key, private=True)
    change.write(home.certificate("authority"), certificate)
    add_servers(change, home, key, certificate, now=now)
    return key, certificate


def add_servers(change: Change, home: Home, authority_key: bytes, authority: bytes, *, now: datetime) -> None:
    """Add new keys and certificates of gateway and SuperLink to `change`. Raises ConsiliumError."""
    for name in SERVERS:
        names = home.server_names[name]
        key, certificate = certificates.server_certificate(authority_key, authority, names, now=now)
        change.write(home.key(name), key, private=True)
        change.write(home.certificate(name), certificate)


def _listen(address: str) -> str:
    try:
        host, port = host_and_port(address)
    except ValueError:
        return address  # the same objection is raised to `address` first
    loopback = host == "localhost" or host == "::1" or (is_ip(host) and host.startswith("127."))
    everywhere = "[::]" if ":" in host else "0.0.0.0"  # noqa: S104 -- hospitals dial it from outside
    if loopback:
        everywhere = "[::1]" if ":" in host else "127.0.0.1"
    return f"{everywhere}:{port}"


def _check_same(home: Home, settings: Settings, given: Collection[str]) -> None:
    for key in given:
        found, asked = getattr(home.settings, key), getattr(settings, key)
        if found != asked:
            then = (
                "another federation needs a folder of its own"
                if key == "federation"
                else f"edit that file, then `consilium server renew {home.folder}`"
            )
            raise ConsiliumError(f"{home.folder / SETTINGS}: {key} is {found!r} already, not {asked!r}; {then}.")


def _own(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # an empty one may have been made for us, with any mode
    except OSError as error:
        raise ConsiliumError(f"{folder}: cannot be made: {error.strerror or error}.") from None
