"""Masks against a cipher worked block by block, across our own blocks, in both rings; opposite masks cancel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.secagg.keystream import BLOCK, Keystream, Mask, apply_masks
from tests.common.secagg.naive import counter_mode

N, W = BLOCK // 4, BLOCK // 8  # words per block in either ring


def _naive(masks: list[Mask], narrow: np.ndarray, wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One stream per mask over narrow, then wide; sums in exact Python integers."""
    totals = [[int(word) for word in narrow], [int(word) for word in wide]]
    for mask in masks:
        stream = counter_mode(mask.key, 2, 4 * len(narrow) + 8 * len(wide))
        words = np.frombuffer(stream[: 4 * len(narrow)], "<u4"), np.frombuffer(stream[4 * len(narrow) :], "<u8")
        sign = -1 if mask.negative else 1
        totals = [[a + sign * int(b) for a, b in zip(t, w, strict=True)] for t, w in zip(totals, words, strict=True)]
    return np.array([t % 2**32 for t in totals[0]], np.uint32), np.array([t % 2**64 for t in totals[1]], np.uint64)


def _vectors(narrow: int, wide: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 2**32, narrow, np.uint32), random.integers(0, 2**64, wide, np.uint64)


def _masks(signs: list[bool], seed: int = 1) -> list[Mask]:
    random = np.random.default_rng(seed)
    return [Mask(random.bytes(32), negative) for negative in signs]


@settings(deadline=None)
@given(st.integers(0, 70), st.integers(0, 40), st.lists(st.booleans(), max_size=5), st.integers(0, 2**32))
def test_masks_are_those_of_the_cipher(narrow: int, wide: int, signs: list[bool], seed: int) -> None:
    vectors, masks = _vectors(narrow, wide, seed), _masks(signs, seed)
    expected = _naive(masks, *vectors)
    apply_masks(masks, *vectors)
    assert all(np.array_equal(found, wanted) for found, wanted in zip(vectors, expected, strict=True))


@pytest.mark.parametrize("narrow", [N - 1, N, N + 1])
@pytest.mark.parametrize("wide", [0, 1, W - 1, W, W + 1])
def test_across_our_own_blocks(narrow: int, wide: int) -> None:
    vectors, masks = _vectors(narrow, wide), _masks([False, True])
    expected = _naive(masks, *vectors)
    apply_masks(masks, *vectors)
    assert all(np.array_equal(found, wanted) for found, wanted in zip(vectors, expected, strict=True))


@pytest.mark.parametrize(("narrow", "wide"), [(0, 0), (1, 0), (0, 1), (5, 3), (2 * N + 3, 2 * W + 5)])
def test_opposite_masks_cancel(narrow: int, wide: int) -> None:
    vectors, masks = _vectors(narrow, wide), _masks([False, True, False])
    before = tuple(vector.copy() for vector in vectors)
    apply_masks(masks, *vectors)
    if narrow + wide > 4:
        assert not any(np.array_equal(a, b) for a, b in zip(vectors, before, strict=True))
    apply_masks([Mask(mask.key, not mask.negative) for mask in masks], *vectors)
    assert all(np.array_equal(a, b) for a, b in zip(vectors, before, strict=True))


def test_pairwise_masks_cancel_in_the_sum_of_the_sites() -> None:
    sites, vectors = 4, [_vectors(1000, 7, seed) for seed in range(4)]
    plain = [sum(v[ring] for v in vectors) for ring in (0, 1)]  # numpy wraps, as the rings do
    keys = {(i, j): _masks([False], seed=10 * i + j)[0].key for i in range(sites) for j in range(i + 1, sites)}
    for site, vector in enumerate(vectors):
        apply_masks([Mask(key, site == j) for (i, j), key in keys.items() if site in (i, j)], *vector)
    assert all(np.array_equal(sum(v[ring] for v in vectors), plain[ring]) for ring in (0, 1))


def test_a_view_of_a_buffer_is_masked_in_place() -> None:
    data = bytearray(4 * 10 + 8 * 5)
    masks = _masks([False])
    apply_masks(masks, np.frombuffer(data, np.uint32, 10), np.frombuffer(data, np.uint64, 5, offset=40))
    assert bytes(data) == counter_mode(masks[0].key, 2, 80)


def test_words_go_on_where_the_last_ended() -> None:
    stream = Keystream(bytes(32), np.empty(BLOCK, np.uint8))
    counts = (3, 0, 1, 50, 7, 1000)
    found = b"".join(stream.words(np.uint16, count).tobytes() for count in counts)
    assert found == counter_mode(bytes(32), 2, 2 * sum(counts))


def test_streams_may_share_their_scratch() -> None:
    scratch = np.empty(BLOCK, np.uint8)
    first, second = Keystream(bytes(32), scratch), Keystream(b"\1" * 32, scratch)
    words = [stream.words(np.uint64, 2).tobytes() for stream in (first, second, first, second)]
    assert words[0] + words[2] == counter_mode(bytes(32), 2, 32)
    assert words[1] + words[3] == counter_mode(b"\1" * 32, 2, 32)


@pytest.mark.parametrize(("narrow", "wide"), [(np.int32, np.uint64), (np.uint32, np.int64), (np.uint64, np.uint64)])
def test_other_rings_are_an_error(narrow: type, wide: type) -> None:
    with pytest.raises(ValueError, match="uint32 and uint64"):
        apply_masks([], np.zeros(3, narrow), np.zeros(3, wide))


@pytest.mark.parametrize("keys", [[bytes(16)], [bytes(33)], [b""], [bytes(32), bytes(32)], [bytes(32), bytes(31)]])
def test_a_key_is_whole_and_serves_once(keys: list[bytes]) -> None:
    narrow, wide = np.zeros(3, np.uint32), np.zeros(3, np.uint64)
    with pytest.raises(ValueError, match="key"):
        apply_masks([Mask(key, negative=False) for key in keys], narrow, wide)
    assert not narrow.any() and not wide.any()


def test_keys_do_not_show() -> None:
    assert repr(Mask(b"secret" * 5 + b"!!", negative=True)) == "Mask(negative=True)"
