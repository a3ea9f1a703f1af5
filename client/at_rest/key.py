"""Where the key for what a site keeps encrypted comes from: `[at_rest]` of site.toml.

A file or a variable that the site's secret store fills, a passphrase, or, without any of these, the file at-rest.key
among the site's keys. A passphrase becomes a key by scrypt (RFC 7914) with N = 2^17, r = 8, p = 1: 128 MiB of memory
and about half a second for each guess.
"""

import base64
import binascii
import contextlib
import getpass
import hashlib
import os
import re
import sys
from pathlib import Path

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from client.at_rest.files import KEY_SIZE, Vaulted, VaultKey
from client.config import SiteConfig
from common.errors import PlanError
from common.files import exists, own_folder, read_private, write_private
from common.secagg.primitives import Random

KEY_FILE, SALT_FILE = "at-rest.key", "at-rest.salt"
_N, _R, _P, _SALT = 2**17, 8, 1, 16
_SALT_LINE = "scrypt-131072-8-1"
_FORMS = f"{KEY_SIZE} random bytes as {2 * KEY_SIZE} hexadecimal digits or as base64"

_derived: dict[bytes, VaultKey] = {}


def vaulted(config: SiteConfig) -> Vaulted:
    """What seals and opens this site's files. Raises PlanError where the key cannot be had."""
    return Vaulted(vault_key(config), config.name)


def vault_key(config: SiteConfig) -> VaultKey:
    """The key at rest. Raises PlanError if it is absent or no key, and ConsiliumError if others may read its file."""
    rules = config.at_rest
    if rules.key_env is not None:
        return VaultKey(_key(_variable(config, "key_env", rules.key_env).encode(), f"${rules.key_env}"))
    if rules.passphrase_env is not None:
        return _from_passphrase(config, rules.passphrase_env)
    path = _key_file(config)
    if not exists(path):
        raise PlanError(
            f"{path}: no such file; it holds the key of what is encrypted here. "
            + (
                f"Write {_FORMS} into it."
                if rules.key_file
                else "Put it back; at a new site `consilium site init` makes it."
            )
        )
    return VaultKey(_key(read_private(path), str(path)))


def make_vault_key(config: SiteConfig, random: Random) -> None:
    """Make what is this site's to make, where it is not there yet: at-rest.key, or the salt of a passphrase."""
    rules = config.at_rest
    if rules.key_env is None and rules.key_file is None:
        own_folder(config.keys)
        name = KEY_FILE if rules.passphrase_env is None else SALT_FILE
        if not exists(config.keys / name):
            line = random(KEY_SIZE).hex() if name == KEY_FILE else f"{_SALT_LINE} {random(_SALT).hex()}"
            write_private(config.keys / name, f"{line}\n".encode())
    vault_key(config)


def _key_file(config: SiteConfig) -> Path:
    named = config.at_rest.key_file
    return config.keys / KEY_FILE if named is None else config.source.parent / named


def _key(data: bytes, source: str) -> bytes:
    """The key in its three forms. Its own bytes are in no message."""
    text = data.strip()
    if len(data) == KEY_SIZE:
        return data
    if len(text) == 2 * KEY_SIZE and re.fullmatch(rb"[0-9a-fA-F]+", text):
        return binascii.unhexlify(text)
    with contextlib.suppress(binascii.Error):
        if len(key := base64.b64decode(text, validate=True)) == KEY_SIZE:
            return key
    raise PlanError(f"{source}: holds no key; expected {_FORMS}, such as `openssl rand -hex {KEY_SIZE}` prints.")


def _variable(config: SiteConfig, key: str, name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise PlanError(f"{config.source}: [at_rest] {key} names a variable that is not set; set it.")  # or is a secret
    return value


def _from_passphrase(config: SiteConfig, variable: str) -> VaultKey:
    """Derived once in a process: each time costs what a guess costs."""
    path = config.keys / SALT_FILE
    if not exists(path):
        raise PlanError(
            f"{path}: no such file; without it the passphrase opens nothing. "
            "Put it back; at a new site `consilium site init` makes it."
        )
    line = re.fullmatch(rb"(\S+) ([0-9a-f]{32})\n", read_private(path))
    if line is None or line[1] != _SALT_LINE.encode():
        raise PlanError(f"{path}: is not the salt that `consilium site init` wrote; put that back.")
    salt = bytes.fromhex(line[2].decode())
    asked = not os.environ.get(variable) and sys.stdin is not None and sys.stdin.isatty()
    if asked and salt in _derived:
        return _derived[salt]
    passphrase = (
        getpass.getpass(f"Passphrase of {config.name}: ") if asked else _variable(config, "passphrase_env", variable)
    )
    known = salt if asked else hashlib.sha256(salt + passphrase.encode()).digest()
    if known not in _derived:
        _derived[known] = VaultKey(Scrypt(salt=salt, length=KEY_SIZE, n=_N, r=_R, p=_P).derive(passphrase.encode()))
    return _derived[known]
