"""Sealed values and files: they open whole, unchanged, in their own place, with their own key, or not at all."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from client.at_rest.files import HEAD, MODEL, OVERHEAD, Vaulted, VaultKey, is_sealed
from common.errors import ConsiliumError

KEY = VaultKey(bytes(range(32)))
NORTH = Vaulted(KEY, "north")
SECRET = b"what nobody else may read"
ONE_MIB = 2**20


def opened(sealed: bytes, vaulted: Vaulted = NORTH, purpose: str = "file", name: str = "a") -> bytes:
    return vaulted.open(sealed, purpose, name, source="here/a")


@given(st.binary(max_size=200))
def test_what_was_sealed_opens_and_is_not_in_it(data: bytes) -> None:
    sealed = NORTH.seal(data, "file", "a")
    assert opened(sealed) == data and len(sealed) == len(data) + OVERHEAD and is_sealed(sealed)
    assert len(data) < 4 or data not in sealed.removeprefix(HEAD)
    assert NORTH.seal(data, "file", "a") != sealed, "a nonce is used once"


@pytest.mark.parametrize("size", [0, 1, ONE_MIB - 1, ONE_MIB, ONE_MIB + 1, 3 * ONE_MIB + 5])
def test_pieces_are_the_sealed_value(size: int) -> None:
    data = os.urandom(size)
    for given_as in (data, bytearray(data), memoryview(data)):
        assert opened(b"".join(NORTH.pieces(given_as, "file", "a"))) == data


def test_the_ciphertext_is_that_of_aes_256_gcm() -> None:
    """Against the library's one-shot function, with the nonce where the format says it is."""
    sealed = Vaulted(KEY, "north", lambda count: bytes(range(count))).seal(SECRET, "file", "a")
    nonce = sealed[len(HEAD) + 8 : len(HEAD) + 20]
    assert nonce == bytes(range(12))
    expected = AESGCM(KEY.of("file")).encrypt(nonce, SECRET, NORTH._associated("file", "a"))
    assert sealed[len(HEAD) + 20 :] == expected


def test_every_flipped_bit_is_found() -> None:
    sealed = NORTH.seal(SECRET, "file", "a")
    assert opened(sealed) == SECRET
    for at in range(len(sealed)):
        for bit in (1, 128):
            changed = sealed[:at] + bytes([sealed[at] ^ bit]) + sealed[at + 1 :]
            with pytest.raises(ConsiliumError, match=r"^here/a: (is|was) [^\n]+$"):
                opened(changed)


def test_every_truncation_and_any_addition_is_found() -> None:
    sealed = NORTH.seal(SECRET, "file", "a")
    for changed in (*(sealed[:size] for size in range(len(sealed))), sealed + b"\0", b"\0" + sealed):
        with pytest.raises(ConsiliumError):
            opened(changed)


@pytest.mark.parametrize(
    ("vaulted", "purpose", "name", "told"),
    [
        (NORTH, "file", "b", "another place"),
        (NORTH, "key", "a", "another place"),
        (NORTH, "fil", "ea", "another place"),
        (Vaulted(KEY, "south"), "file", "a", "another place or site"),
        (Vaulted(VaultKey(bytes(32)), "north"), "file", "a", "another key than the one that .at_rest. of north's"),
    ],
)
def test_a_value_opens_in_its_own_place_only(vaulted: Vaulted, purpose: str, name: str, told: str) -> None:
    sealed = NORTH.seal(SECRET, "file", "a")
    with pytest.raises(ConsiliumError, match=told):
        opened(sealed, vaulted, purpose, name)


def test_the_key_shows_itself_nowhere() -> None:
    secret = bytes(range(32))
    for shown in (repr(KEY), str(KEY), repr(NORTH), f"{NORTH}", repr([NORTH])):
        assert secret.hex() not in shown and repr(secret)[2:20] not in shown and "secret" not in shown
    assert KEY.id not in secret and KEY.of("file") != KEY.of("key") != secret
    for size in (0, 16, 31, 33, 64):
        with pytest.raises(ValueError, match=f"not {size}$"):
            VaultKey(bytes(size))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_the_sites_own_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    path, before = tmp_path / "north" / MODEL, os.umask(umask)
    try:
        for data in (SECRET, b"the next model"):
            NORTH.write(path, data)
            assert NORTH.read(path) == data and data not in path.read_bytes()
            assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
            assert list(path.parent.iterdir()) == [path]
    finally:
        os.umask(before)


def test_a_file_that_was_renamed_or_opened_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / MODEL
    NORTH.write(path, SECRET)
    path.chmod(0o644)
    with pytest.raises(ConsiliumError, match=r"enc: has mode 644, but only its owner may read it: chmod 600 "):
        NORTH.read(path)
    path.chmod(0o600)
    renamed = path.rename(tmp_path / "other.enc")
    with pytest.raises(ConsiliumError, match=r"other\.enc: is damaged, or was encrypted for another place"):
        NORTH.read(renamed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / MODEL
    NORTH.write(path, SECRET)
    os.chown(path, 12345, 12345)
    with pytest.raises(ConsiliumError, match=r"enc: belongs to user 12345, but this is user 0"):
        NORTH.read(path)
