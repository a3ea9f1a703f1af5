"""The two private keys of a hospital's connection, encrypted on its disk as its signing key is."""

import base64
import hashlib
from pathlib import Path

from client.at_rest.key import vaulted
from client.config import SiteConfig
from client.network.home import Home
from common.errors import ConsiliumError
from common.files import exists, read_bytes, write_atomic
from common.network.certificates import new_key
from common.network.node_key import key_header, new_node_key


def make_network_keys(config: SiteConfig) -> bool:
    """Make the keys that are not there, or that no key here opens; whether there was one to make.

    Raises ConsiliumError where this hospital has joined with the key that is missing.
    """
    home, vault = Home.of(config), vaulted(config)
    node_there = exists(home.node_key_public) and _opens(config, home.node_key)
    tls_there = _opens(config, home.tls_key)
    if node_there and tls_there:
        return False
    if exists(home.connection):
        missing = home.tls_key if node_there else home.node_key
        raise ConsiliumError(
            f"{missing}: cannot be used, though the coordinator knows it; put back what was there, or "
            f"`consilium site leave {home.folder}` and be enrolled again."
        )
    if not node_there:
        private, public = new_node_key()
        vault.write(home.node_key, private)
        write_atomic(home.node_key_public, public + b"\n")
    if not tls_there:
        vault.write(home.tls_key, new_key())
    return True


def node_key(config: SiteConfig) -> bytes:
    """The SuperNode's private key, in OpenSSH's format. Raises ConsiliumError."""
    return _read(config, "node_key")


def tls_key(config: SiteConfig) -> bytes:
    """The client's private key of mutual TLS, PEM. Raises ConsiliumError."""
    return _read(config, "tls_key")


def public_node_key(config: SiteConfig) -> str:
    """The public half of the node key: one line, without a line break. Raises ConsiliumError where it is damaged."""
    path = Home.of(config).node_key_public
    line = read_bytes(path).decode("ascii", "replace").rstrip("\n")
    try:
        key_header(line)
    except ValueError as error:
        raise ConsiliumError(f"{path}: is damaged, {error}; put back what was there, or move it away.") from None
    return line


def node_fingerprint(config: SiteConfig) -> str:
    """What `ssh-keygen -lf` shows of the public node key, for the telephone."""
    blob = base64.b64decode(public_node_key(config).split(" ")[1])
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def _opens(config: SiteConfig, path: Path) -> bool:
    """Whether there is a key that can be read: one beside another key at rest belongs to keys that were moved away."""
    if not exists(path):
        return False
    try:
        vaulted(config).read(path)
    except ConsiliumError:
        return False
    return True


def _read(config: SiteConfig, name: str) -> bytes:
    path = getattr(Home.of(config), name)
    if not exists(path):
        raise ConsiliumError(f"{path}: no such file; `consilium site init {path.parents[1]}` makes it.")
    return vaulted(config).read(path)
