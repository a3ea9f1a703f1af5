"""Every derived secret against a second implementation, and bound to each thing that it is said to be bound to."""

import hashlib
import hmac
from dataclasses import replace
from itertools import combinations
from random import Random
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from common.secagg import report, seeds
from common.secagg.encoding import decode, encode
from common.secagg.field import P
from common.secagg.messages import SignedHeader, SignedReport
from common.secagg.primitives import digest, unseal
from common.secagg.seeds import Bound
from common.secagg.shamir import reconstruct
from tests.common.secagg.naive import counter_mode
from tests.common.secagg.stage import Stage
from tests.common.secagg.stage_site import Site, coins_of

BOUND = Bound(b"r" * 32, b"s" * 32, b"c" * 32)
HEADER, KEY, SEED = bytes(range(32)), bytes(range(32, 64)), 3**150


def hkdf(secret: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 without salt (RFC 5869, sections 2.2 and 2.3)."""
    pseudorandom, block, output = hmac.digest(bytes(32), secret, "sha256"), b"", b""
    for number in range(1, 1 + -(-length // 32)):
        block = hmac.digest(pseudorandom, block + info + bytes([number]), "sha256")
        output += block
    return output[:length]


def sized(*parts: bytes | str) -> bytes:
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def pair_key(agreed: bytes, bound: Bound, one: str, other: str) -> bytes:
    pair = sorted([one, other])
    return hkdf(agreed, sized("consilium/1/pair", bound.roster, bound.session, bound.cards, *pair))


def pair_seed(key: bytes, header: bytes, one: str, other: str) -> int:
    found = hkdf(key, sized("consilium/1/mask", header, *sorted([one, other])), length=40)
    return int.from_bytes(found, "big") % P


def stream_key(seed: int, header: bytes, *owners: str) -> bytes:
    return hkdf(seed.to_bytes(32, "big"), sized("consilium/1/prg", header, *owners))


def share_key(key: bytes, header: bytes, sender: str, member: str) -> bytes:
    return hkdf(key, sized("consilium/1/share", header, sender, member))


def share_context(header: bytes, sender: str, member: str) -> bytes:
    return sized("share", header, sender, member)


def commitment(seed: int, header: bytes, *owners: str) -> bytes:
    label = "pair" if len(owners) == 2 else "self"
    return hashlib.sha256(sized(label, header, *owners, seed.to_bytes(32, "big"))).digest()


JUDGES = {judge.__name__: judge for judge in (pair_key, pair_seed, stream_key, share_key, share_context, commitment)}
CASES: list[tuple[str, tuple[Any, ...]]] = [
    ("pair_key", (KEY, BOUND, "ash", "oak")),
    ("pair_seed", (KEY, HEADER, "ash", "oak")),
    ("stream_key", (SEED, HEADER, "ash")),
    ("stream_key", (SEED, HEADER, "ash", "oak")),
    ("share_key", (KEY, HEADER, "ash", "oak")),
    ("share_context", (HEADER, "ash", "oak")),
    ("commitment", (SEED, HEADER, "ash")),
    ("commitment", (SEED, HEADER, "ash", "oak")),
]
ANSWERS: dict[tuple[str, int], str] = {
    ("pair_key", 4): "7577c6ddcb0a6111972e30c93d03482ddcb5eef62b908f468e1cad86170e5cf3",
    ("pair_seed", 4): "5a429e621c5cd86c15f383870810ad2dac7225297aae2ae7073d9919a6d508d0",
    ("stream_key", 3): "05916da99044f0414126fe6e12eed9bb8240fa40669f32be796e7c0cff7fe9fc",
    ("stream_key", 4): "6fdc256b782ec1aa1170945cfcbab3d375228d6ec248ac96283a060f5e61ce8f",
    ("share_key", 4): "f38a05039e578b961366e38ef1112f76d278f05f94ae823428fb966b8a981797",
    ("share_context", 3): (
        "00000005736861726500000020000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
        "1f00000003617368000000036f616b"
    ),
    ("commitment", 3): "ed27e96877169be6df9983feda695ceee23de6b7dcc9b1edbdead89f20536810",
    ("commitment", 4): "635797f2893b221a24bf8af826ab08fe4852faf4e33fcdc323ccceb8eb662713",
}
"""(function, number of arguments) -> what `JUDGES` gave once; elements in 32 bytes. A new version has new ones."""


def _hex(value: bytes | int) -> str:
    return (value if isinstance(value, bytes) else value.to_bytes(32, "big")).hex()


def test_the_judge_of_the_keys() -> None:
    """RFC 5869, appendix A.3: SHA-256 without salt and info."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf(bytes.fromhex("0b" * 22), b"", 42).hex() == expected


@pytest.mark.parametrize(("name", "given"), CASES)
def test_known_answers(name: str, given: tuple[Any, ...]) -> None:
    found = getattr(seeds, name)(*given)
    assert found == JUDGES[name](*given)
    assert _hex(found) == ANSWERS[name, len(given)]


def _others(value: Any) -> list[Any]:
    """Values of the same kind that differ from `value` in one place."""
    match value:
        case bytes():
            return [bytes([value[0] ^ 1]) + value[1:], value[:-1] + bytes([value[-1] ^ 128])]
        case int():
            return [value + 1, value ^ 1 << 200]
        case str():
            return [value + "e", "a" + value]
        case Bound():
            parts = vars(value)
            return [replace(value, **{part: other}) for part in parts for other in _others(parts[part])]
    raise AssertionError(value)


@pytest.mark.parametrize(("name", "given"), CASES)
def test_every_argument_counts(name: str, given: tuple[Any, ...]) -> None:
    derive = getattr(seeds, name)
    found = [derive(*given)]
    for place, value in enumerate(given):
        found += [derive(*given[:place], other, *given[place + 1 :]) for other in _others(value)]
    assert len(found) >= 7 and len(set(found)) == len(found)


def test_parts_do_not_run_into_each_other() -> None:
    for name, *head in (("share_key", KEY, HEADER), ("share_context", HEADER), ("stream_key", SEED, HEADER)):
        derive = getattr(seeds, name)
        assert derive(*head, "ash", "oak") != derive(*head, "asho", "ak")
    one, other = replace(BOUND, roster=b"r" * 31, session=b"r" + b"s" * 32), BOUND
    assert seeds.pair_key(KEY, one, "ash", "oak") != seeds.pair_key(KEY, other, "ash", "oak")


def test_both_sites_of_a_pair_derive_the_same_and_each_direction_its_own() -> None:
    assert seeds.pair_key(KEY, BOUND, "ash", "oak") == seeds.pair_key(KEY, BOUND, "oak", "ash")
    assert seeds.pair_seed(KEY, HEADER, "ash", "oak") == seeds.pair_seed(KEY, HEADER, "oak", "ash")
    assert seeds.share_key(KEY, HEADER, "ash", "oak") != seeds.share_key(KEY, HEADER, "oak", "ash")
    assert seeds.share_context(HEADER, "ash", "oak") != seeds.share_context(HEADER, "oak", "ash")


def test_no_two_functions_give_the_same() -> None:
    values = [_hex(JUDGES[name](*given)) for name, given in CASES]
    assert all(one != other for one, other in combinations(values, 2))


@pytest.fixture
def begun() -> tuple[Stage, SignedHeader]:
    """Five sites with a header, of which site002 has begun its round."""
    stage = Stage(5, seed=3)
    stage.open(dict.fromkeys(stage.sites, (8, 8)))
    signed = stage.header(1, stage.sites, bytes(32))
    assert stage.sites["site002"].begin(encode(signed), bytes(32)) is None
    return stage, signed


class Recorded:
    """A source of random bytes that remembers what it gave."""

    def __init__(self, seed: int) -> None:
        self._random, self.given = Random(seed), []

    def __call__(self, size: int) -> bytes:
        self.given.append(self._random.randbytes(size))
        return self.given[-1]


def _report(site: Site, given: tuple[np.ndarray, np.ndarray], random: Recorded) -> bytes:
    asked = report.Contribution(given[0].copy(), given[1].copy(), coins_of(site.name, 1))
    return bytes(report.make_report(site.party, site._session, site.training, asked, random=random)[1])


def _pair_keys(stage: Stage, name: str) -> dict[str, bytes]:
    """By X25519 from the site's own private key and the cards, and by `pair_key` above."""
    private = X25519PrivateKey.from_private_bytes(stage.sites[name]._session.exchange_key)
    bound = Bound(digest(stage.roster), stage.request.session, digest(stage.cards))
    public = {card.site: X25519PublicKey.from_public_bytes(card.exchange_key) for card in stage.cards.cards}
    return {
        other: pair_key(private.exchange(key), bound, name, other) for other, key in public.items() if other != name
    }


def test_report_holds_the_contribution_under_exactly_these_masks(begun: tuple[Stage, SignedHeader]) -> None:
    """Unmasked with keys of our own making: self from the recorded bytes, pairs from the sites' exchange keys."""
    stage, signed = begun
    name, given, random = "site002", stage.contribution(), Recorded(1)
    data = _report(stage.sites[name], given, random)
    header, size = digest(signed.header), stage.question.narrow
    length = 4 * size + 8 * stage.question.wide
    own = next(part for part in random.given if len(part) == 40)
    masks = [(stream_key(int.from_bytes(own, "big") % P, header, name), 1)]
    for other, key in _pair_keys(stage, name).items():
        seed = pair_seed(key, header, name, other)
        masks.append((stream_key(seed, header, *sorted([name, other])), -1 if other < name else 1))
    narrow = np.frombuffer(data, "<u4", size).copy()
    wide = np.frombuffer(data, "<u8", stage.question.wide, 4 * size).copy()
    for key, sign in masks:
        stream = counter_mode(key, 2, length)  # GCM's first data block, from a zero nonce
        for part, words in (
            (narrow, np.frombuffer(stream, "<u4", size)),
            (wide, np.frombuffer(stream[4 * size :], "<u8")),
        ):
            (np.subtract if sign > 0 else np.add)(part, words, out=part)
    expected = stage.fixed.integers(*given, coins_of(name, 1))
    assert np.array_equal(narrow.view(np.int32), expected[0]) and np.array_equal(wide.view(np.int64), expected[1])


def test_self_seed_comes_from_the_random_source_and_is_what_is_shared(begun: tuple[Stage, SignedHeader]) -> None:
    stage, signed = begun
    name, given, header = "site002", stage.contribution(), digest(signed.header)
    length = 4 * stage.question.narrow + 8 * stage.question.wide
    keys, committee = _pair_keys(stage, name), stage.roster.committee
    reports, opened = [], []
    for number in (1, 2):
        random = Recorded(number)
        data = _report(stage.sites[name], given, random)
        sealed = decode(SignedReport, data[length:]).ciphertexts
        points, shares = [], []
        for place, member in enumerate(committee):
            if member != name:
                key, context = share_key(keys[member], header, name, member), share_context(header, name, member)
                points.append(place + 1)
                shares.append(unseal(key, sealed[place], context))
        count = stage.roster.threshold
        assert len(points) >= count and None not in shares
        found = reconstruct(points[:count], shares[:count])
        own = int.from_bytes(next(part for part in random.given if len(part) == 40), "big") % P
        others = [other for other in signed.header.cohort if other != name]
        assert found == [own, *(pair_seed(keys[other], header, name, other) for other in others)]
        commitments = decode(SignedReport, data[length:]).commitments
        assert commitments.own == commitment(own, header, name)
        reports.append(data[:length])
        opened.append(found[0])
    assert opened[0] != opened[1] and reports[0] != reports[1]
