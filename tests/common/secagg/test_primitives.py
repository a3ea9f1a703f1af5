"""What our wrappers add: nothing made for one purpose serves another, and nothing malformed raises."""

from itertools import combinations, permutations
from typing import get_args

import numpy as np
import pytest

from common.secagg.messages import SiteCard
from common.secagg.primitives import ExchangeKey, Kind, SigningKey, derive, seal, unseal, verify

SECRET = bytes(range(32))


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.from_bytes(SECRET)


def _random(size: int) -> bytes:
    return np.random.default_rng(7).bytes(size)


@pytest.mark.parametrize(("kind", "other"), list(permutations(get_args(Kind), 2)))
def test_a_signature_of_one_kind_is_none_of_another(key: SigningKey, kind: Kind, other: Kind) -> None:
    card = SiteCard("north", key.verify_key)
    signature = key.sign(kind, card)
    assert len(signature) == 64 and verify(key.verify_key, kind, card, signature)
    assert not verify(key.verify_key, other, card, signature)


def test_another_message_or_key_does_not_verify(key: SigningKey) -> None:
    card = SiteCard("north", key.verify_key)
    signature = key.sign("enrol", card)
    assert not verify(key.verify_key, "enrol", SiteCard("south", key.verify_key), signature)
    assert not verify(SigningKey.new(_random).verify_key, "enrol", card, signature)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 63, 65])
def test_malformed_keys_and_signatures_are_false(key: SigningKey, size: int) -> None:
    signature = key.sign("report", b"text")
    assert not verify(bytes(size), "report", b"text", signature)
    assert not verify(key.verify_key, "report", b"text", signature[:size] + bytes(max(0, size - 64)))


def test_a_message_without_canonical_bytes_is_false(key: SigningKey) -> None:
    assert not verify(key.verify_key, "enrol", SiteCard("\ud800", b""), bytes(64))


def test_private_keys_do_not_show(key: SigningKey) -> None:
    exchange = ExchangeKey.from_bytes(SECRET)
    assert exchange.private_bytes == key.private_bytes == SECRET
    assert "\\x" not in repr(key) + repr(exchange) and SECRET.hex() not in repr(key) + repr(exchange)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_peer_key_of_another_length_gives_no_secret(size: int) -> None:
    assert ExchangeKey.from_bytes(SECRET).agree(bytes(size)) is None


def test_derived_keys_differ_in_every_part() -> None:
    lists = [("pair",), ("pair", "a"), ("paira",), ("pair", "a", "b"), ("pair", "ab"), ("pair", "b", "a"), ("pair", "")]
    keys = [derive(SECRET, *parts) for parts in lists] + [derive(bytes(32), "pair")]
    assert all(one != other for one, other in combinations(keys, 2))
    assert derive(SECRET, "pair", b"a") == derive(SECRET, "pair", "a")
    assert len(derive(SECRET, "pair", length=40)) == 40


def test_only_the_exact_ciphertext_opens() -> None:
    sealed = seal(SECRET, b"shares", b"context", _random)
    assert len(sealed) == len(b"shares") + 28 and unseal(SECRET, sealed, b"context") == b"shares"
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << (bit % 8)
        assert unseal(SECRET, bytes(changed), b"context") is None
    assert all(unseal(SECRET, sealed[:size], b"context") is None for size in range(len(sealed)))
    assert unseal(SECRET, sealed, b"Context") is None and unseal(bytes(32), sealed, b"context") is None


@pytest.mark.parametrize("size", [0, 16, 24, 33])
def test_only_keys_of_256_bits_seal(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal(bytes(size), b"", b"", _random)
