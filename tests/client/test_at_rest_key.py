"""Where the key at rest comes from, each way it can be missing or wrong, and what stays unsaid."""

import base64
import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client.at_rest import key as at_rest_key
from client.at_rest.key import make_vault_key, vault_key, vaulted
from client.config import SiteConfig, load_site, virtual_site, write_site_toml
from client.secure import keys
from common.errors import ConsiliumError, PlanError
from common.secagg.key_pem import key_to_pem
from common.secagg.primitives import SigningKey

SECRET = bytes(range(100, 132))
Make = Callable[..., SiteConfig]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(rules) is a site with these lines under [at_rest]."""

    def site(rules: str = "", name: str = "north") -> SiteConfig:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        head = f'[site]\nname = "{name}"\n[data]\nfiles = ["a.csv"]\n'
        (folder / "site.toml").write_text(head + (f"[at_rest]\n{rules}\n" if rules else ""))
        return load_site(folder)

    return site


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_rest_key, "_derived", {})


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    path.write_bytes(data)
    path.chmod(mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_init_makes_a_key_file_of_its_own(umask: int, make: Make) -> None:
    config, before = make(), os.umask(umask)
    try:
        key = keys.make_keys(config, os.urandom)
    finally:
        os.umask(before)
    for path in config.keys.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert config.keys.stat().st_mode & 0o777 == 0o700
    assert keys.load_signing_key(config).verify_key == key.verify_key
    stored = (config.keys / keys.KEY).read_bytes()
    assert key.private_bytes not in stored and b"PRIVATE" not in stored
    made = (config.keys / "at-rest.key").read_bytes()
    make_vault_key(config, os.urandom)
    assert (config.keys / "at-rest.key").read_bytes() == made, "a key is never overwritten"


@pytest.mark.parametrize(
    "written", [SECRET, SECRET.hex().encode() + b"\n", SECRET.hex().upper().encode(), base64.b64encode(SECRET) + b"\n"]
)
def test_a_key_file_holds_the_key_in_one_of_three_forms(written: bytes, make: Make, tmp_path: Path) -> None:
    write(tmp_path / "north.key", written)
    assert vault_key(make('key_file = "../north.key"'))._secret == SECRET


@pytest.mark.parametrize("written", [SECRET.hex(), base64.b64encode(SECRET).decode()])
def test_a_variable_holds_the_key(written: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make('key_env = "NORTH_KEY"')
    monkeypatch.setenv("NORTH_KEY", written)
    assert vault_key(config)._secret == SECRET
    keys.make_keys(config, os.urandom)
    assert not (config.keys / "at-rest.key").exists() and keys.load_signing_key(config)


@pytest.mark.parametrize("written", [b"", b"hunter2", SECRET[:31], SECRET.hex().encode()[:-1], b"g" * 64, b"=" * 44])
def test_what_is_no_key_is_refused_and_not_shown(written: bytes, make: Make, tmp_path: Path) -> None:
    write(tmp_path / "north.key", written)
    with pytest.raises(PlanError, match=r"north\.key: holds no key; expected 32 random bytes") as refused:
        vault_key(make('key_file = "../north.key"'))
    assert not written or written.decode("latin-1") not in str(refused.value)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("", r"keys/at-rest\.key: no such file; .* Put it back; at a new site `consilium site init` makes it\.$"),
        ('key_file = "absent.key"', r"absent\.key: no such file; .* Write 32 random bytes as 64 hexadecimal digits"),
        ('key_env = "NORTH_KEY"', r"\[at_rest\] key_env names a variable that is not set; set it\.$"),
        ('passphrase_env = "NORTH_PASS"', r"keys/at-rest\.salt: no such file; without it the passphrase opens nothing"),
    ],
)
def test_an_absent_key_is_one_sentence(rules: str, told: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NORTH_KEY", raising=False)
    monkeypatch.setenv("NORTH_PASS", "words")
    with pytest.raises(PlanError, match=told):
        vault_key(make(rules))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_key_that_others_may_read_or_write_is_refused(mode: int, make: Make, tmp_path: Path) -> None:
    write(tmp_path / "north.key", SECRET, mode)
    with pytest.raises(ConsiliumError, match=rf"north\.key: has mode {mode:03o}, but only its owner"):
        vault_key(make('key_file = "../north.key"'))


def test_one_source_only(make: Make) -> None:
    with pytest.raises(PlanError, match=r"at_rest: \[at_rest\] names the key twice; keep one of"):
        make('key_env = "A"\nkey_file = "b"')
    with pytest.raises(PlanError, match=r"unknown key 'at_rest\.key'"):
        make('key = "c"')


def test_a_passphrase_by_scrypt(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters are held against hashlib's scrypt, another implementation."""
    import hashlib

    config = make('passphrase_env = "NORTH_PASS"')
    monkeypatch.setenv("NORTH_PASS", "correct horse")
    signing = keys.make_keys(config, os.urandom)
    line = (config.keys / "at-rest.salt").read_text()
    salt = bytes.fromhex(line.split()[1])
    memory = 2**28
    expected = hashlib.scrypt(b"correct horse", salt=salt, n=2**17, r=8, p=1, maxmem=memory, dklen=32)
    assert vault_key(config)._secret == expected and len(salt) == 16
    assert (config.keys / "at-rest.salt").stat().st_mode & 0o777 == 0o600
    assert keys.load_signing_key(config).verify_key == signing.verify_key
    monkeypatch.setenv("NORTH_PASS", "battery staple")
    with pytest.raises(ConsiliumError, match=r"signing\.key: was encrypted with another key") as refused:
        keys.load_signing_key(config)
    assert "battery" not in str(refused.value)
    (config.keys / "at-rest.salt").write_text(line.replace("131072", "2"))
    with pytest.raises(PlanError, match=r"at-rest\.salt: is not the salt that `consilium site init` wrote"):
        vault_key(config)


def test_a_terminal_is_asked_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config, asked = make('passphrase_env = "NORTH_PASS"'), []
    monkeypatch.delenv("NORTH_PASS", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: asked.append(prompt) or "typed")
    key = keys.make_keys(config, os.urandom)
    assert keys.load_signing_key(config).verify_key == key.verify_key
    assert asked == ["Passphrase of north: "]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(PlanError, match="passphrase_env names a variable that is not set"):
        vault_key(config)


def test_a_key_left_in_the_open_is_read_and_then_encrypted(make: Make) -> None:
    config = make()
    key = keys.make_keys(config, os.urandom)
    pem = key_to_pem(key)
    write(config.keys / keys.KEY, pem)
    (config.keys / "at-rest.key").unlink()
    assert keys.load_signing_key(config).verify_key == key.verify_key
    assert keys.protect_keys(config, os.urandom) is True
    assert keys.load_signing_key(config).verify_key == key.verify_key
    assert not any(line in file.read_bytes() for line in pem.splitlines()[1:-1] for file in config.keys.iterdir())
    assert keys.protect_keys(config, os.urandom) is False


def test_a_key_of_another_site_does_not_open_here(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "shared.key", SECRET)
    north, south = make('key_file = "../shared.key"'), make('key_file = "../shared.key"', "south")
    keys.make_keys(north, os.urandom)
    keys.make_keys(south, os.urandom)
    (south.keys / keys.KEY).write_bytes((north.keys / keys.KEY).read_bytes())
    with pytest.raises(ConsiliumError, match=r"signing\.key: is damaged, or was encrypted for another place or site"):
        keys.load_signing_key(south)
    sealed = vaulted(north).seal(key_to_pem(SigningKey.new(os.urandom)), "key", "another")
    (north.keys / keys.KEY).write_bytes(sealed)
    with pytest.raises(ConsiliumError, match=r"signing\.key: is damaged, or was encrypted for another place"):
        keys.load_signing_key(north)


def test_a_virtual_site_never_asks_for_the_hospitals_key(make: Make, tmp_path: Path) -> None:
    config = make('key_env = "NORTH_KEY"')
    written = write_site_toml(virtual_site(config, plan=None), tmp_path / "run" / "site.toml")
    assert written.at_rest == type(written.at_rest)()
    assert keys.make_keys(written, os.urandom) and (written.keys / "at-rest.key").exists()


def test_a_written_site_keeps_its_key(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "north.key", SECRET)
    config = make('key_file = "../north.key"')
    written = write_site_toml(config, tmp_path / "elsewhere" / "deep" / "site.toml")
    assert vault_key(written)._secret == SECRET
