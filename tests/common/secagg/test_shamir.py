"""Sharing against brute force: the polynomials term by term, Lagrange's formula in fractions mod p, every subset."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Refusal
from common.secagg.field import SIZE, WIDE, P, element, from_bytes, to_bytes
from common.secagg.shamir import reconstruct, share

elements = st.one_of(st.sampled_from([0, 1, 18, 19, 2**255 - 20, P - 2]), st.integers(0, P - 1))


def _noise(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def _shared(secrets: list[int], threshold: int, members: int, seed: int = 1) -> list[bytes]:
    return share(secrets, threshold=threshold, members=members, random=lambda size: _noise(seed, size))


def _elements(data: bytes) -> list[int]:
    return [from_bytes(data[at : at + SIZE]) for at in range(0, len(data), SIZE)]


def _lagrange(points: list[int], values: list[int], at: int) -> int:
    """The value at `at` of the polynomial through the points: the formula, one fraction at a time."""
    total = 0
    for i, point in enumerate(points):
        for j, other in enumerate(points):
            if j != i:
                values = [*values[:i], values[i] * (at - other) * pow(point - other, -1, P) % P, *values[i + 1 :]]
        total += values[i]
    return total % P


@settings(deadline=None)
@given(st.lists(elements, max_size=5), st.integers(1, 7), st.integers(0, 3), st.integers(0, 2**32))
def test_shares_are_the_values_of_the_polynomials(secrets: list[int], threshold: int, more: int, seed: int) -> None:
    noise = _noise(seed, WIDE * len(secrets) * (threshold - 1))
    for member, held in enumerate(_shared(secrets, threshold, threshold + more, seed)):
        for i, (secret, found) in enumerate(zip(secrets, _elements(held), strict=True)):
            coefficients = [secret] + [
                element(noise[WIDE * (degree * len(secrets) + i) :][:WIDE]) for degree in range(threshold - 1)
            ]
            assert found == sum(c * (member + 1) ** power for power, c in enumerate(coefficients)) % P


@pytest.mark.parametrize("threshold", [1, 2, 3, 5, 6])
def test_every_subset_of_threshold_members_reconstructs(threshold: int) -> None:
    secrets, members = [0, 1, P - 1, 2**255 - 20, 12345], 6
    shares = _shared(secrets, threshold, members)
    for size in range(threshold, members + 1):
        for chosen in combinations(range(members), size):
            points, held = [k + 1 for k in chosen], [shares[k] for k in chosen]
            assert reconstruct(points, held) == secrets
            columns = zip(*(_elements(data) for data in held), strict=True)
            assert [_lagrange(points, list(values), 0) for values in columns] == secrets


def test_fewer_shares_are_consistent_with_every_secret() -> None:
    """Any t - 1 shares and any secret lie on one polynomial of degree below t: they say nothing about the secret."""
    threshold, members = 4, 6
    shares = [_elements(held)[0] for held in _shared([42], threshold, members)]
    for chosen in combinations(range(members), threshold - 1):
        for secret in (0, 1, 42, P - 1):
            points, values = [0, *(k + 1 for k in chosen)], [secret, *(shares[k] for k in chosen)]
            forged = [_lagrange(points, values, x) for x in range(1, members + 1)]
            assert all(forged[k] == shares[k] for k in chosen)
            held = [to_bytes(value) for value in forged]
            assert reconstruct([1, 2, 3, 4], held[:4]) == reconstruct([3, 4, 5, 6], held[2:]) == [secret]


def test_fewer_shares_do_not_reconstruct() -> None:
    shares = _shared([42], 4, 6)
    for chosen in combinations(range(6), 3):
        assert reconstruct([k + 1 for k in chosen], [shares[k] for k in chosen]) != [42]


def test_shares_of_sums_are_sums_of_shares() -> None:
    first, second = _shared([P - 1, 5], 3, 5, seed=1), _shared([2, P - 5], 3, 5, seed=2)
    added = [
        b"".join(to_bytes((a + b) % P) for a, b in zip(_elements(x), _elements(y), strict=True))
        for x, y in zip(first, second, strict=True)
    ]
    assert reconstruct([5, 2, 4], [added[4], added[1], added[3]]) == [1, 0]


@pytest.mark.parametrize(("secrets", "threshold", "members"), [(300, 21, 41), (3, 300, 300), (2, 3, 65535), (0, 2, 3)])
def test_at_the_sizes_of_a_federation(secrets: int, threshold: int, members: int) -> None:
    values = [element(_noise(i, WIDE)) for i in range(secrets)]
    shares = _shared(values, threshold, members)
    chosen = np.random.default_rng(3).permutation(members)[:threshold].tolist()
    assert all(len(held) == SIZE * secrets for held in shares)
    assert reconstruct([k + 1 for k in chosen], [shares[k] for k in chosen]) == values


def test_extreme_coefficients_do_not_run_over() -> None:
    """All noise bits set, and the largest points: every slot at its fullest."""
    secrets = [P - 1] * 4
    shares = share(secrets, threshold=40, members=45, random=lambda size: b"\xff" * size)
    top = element(b"\xff" * WIDE)
    for member in (0, 31, 44):
        value = (P - 1 + sum(top * (member + 1) ** power for power in range(1, 40))) % P
        assert _elements(shares[member]) == [value] * 4
    assert reconstruct(list(range(6, 46)), shares[5:]) == secrets
    assert reconstruct([1, 65535], [to_bytes(P - 1) * 4] * 2) == secrets


@pytest.mark.parametrize(("threshold", "members"), [(0, 3), (4, 3), (1, 0), (-1, 3), (2, 65536)])
def test_a_threshold_must_be_reachable(threshold: int, members: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        _shared([1], threshold, members)


@pytest.mark.parametrize("secret", [-1, P, 2**256])
def test_only_elements_are_shared(secret: int) -> None:
    with pytest.raises(ValueError, match="element"):
        _shared([1, secret], 2, 3)


@pytest.mark.parametrize("points", [[], [1, 1], [0, 1], [-1, 2], [1, 65536]])
def test_points_are_distinct_and_in_range(points: list[int]) -> None:
    with pytest.raises(ValueError, match="points"):
        reconstruct(points, [to_bytes(1)] * len(points))


@pytest.mark.parametrize(
    "shares",
    [
        [to_bytes(1), to_bytes(1) * 2],
        [to_bytes(1) * 2, to_bytes(1)],
        [bytes(33), bytes(33)],
        [bytes(31), bytes(31)],
        [b"", to_bytes(1)],
        [to_bytes(1), P.to_bytes(32, "big")],
        [to_bytes(1) * 3, to_bytes(1) + b"\xff" * 32 + to_bytes(1)],
        [to_bytes(1)],
        [to_bytes(1)] * 3,
    ],
)
def test_malformed_shares_are_refused(shares: list[bytes]) -> None:
    with pytest.raises(Refusal) as refusal:
        reconstruct([1, 2], shares)
    assert refusal.value.code == "malformed_message"


@settings(deadline=None)
@given(elements)
def test_elements_have_one_form(value: int) -> None:
    assert from_bytes(to_bytes(value)) == value


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), P.to_bytes(32, "big"), b"\xff" * 32])
def test_other_forms_are_refused(data: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        from_bytes(data)
    assert refusal.value.code == "malformed_message"


def test_elements_are_made_of_enough_bytes() -> None:
    assert element(P.to_bytes(40, "big")) == 0 and element(b"\xff" * 40) == (2**320 - 1) % P
    with pytest.raises(ValueError, match="40 bytes"):
        element(bytes(39))
    for value in (-1, P):
        with pytest.raises(ValueError, match="element"):
            to_bytes(value)
