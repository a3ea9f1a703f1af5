"""Sites that lie in a secure sum: every bit that they send is covered, and who cannot be summed is left out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.errors import Refusal
from common.secagg import coordinator, report
from common.secagg.encoding import decode
from common.secagg.messages import SignedHeader
from tests.messages import data_of, kind, with_data
from tests.secure import NAMES, Wire, aborted, collect, headers, without
from tests.server.conftest import Seen


def _flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if at >= 0 else _flip(len(data) + at)(data)


def _signature(data: bytes) -> int:
    """Where the signature begins: the first 64 bytes of the signed report that say that they are so many."""
    return data.index(b"\0\0\0\x40", data.index(b"SignedReport")) + 4


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "first bit of the masked vector": ("masked_changed", _flip(0)),
    "a bit of the signature": ("report_unsigned", lambda data: _flip(_signature(data))(data)),
    "a bit of a ciphertext": ("ciphertexts_changed", _flip(-40)),
    "last byte": ("malformed_message", _flip(-1)),
    "cut off": ("malformed_message", lambda data: data[:-1]),
    "longer": ("malformed_message", lambda data: data + b"\0"),
    "half": ("report_short", lambda data: data[: len(data) // 8]),
    "empty": ("report_short", lambda data: b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_report_counts_as_none(damage: str, federation, seen: Seen) -> None:
    code, change = DAMAGES[damage]
    four, wire = federation(4), Wire()
    wire.change("south", "train", with_data(change), time=0)
    total = collect(four, wire)
    assert total.failed == {"south": code} and total.sites == without("south", 4)
    assert np.array_equal(seen.totals[-1], seen.exact(total.sites))


def test_every_single_bit_of_a_report_is_covered(federation) -> None:
    """Also of its signature, commitments and ciphertexts: what is not masked is signed, or is the signature."""
    four, wire = federation(4), Wire()
    with four.sums(wire) as sums:
        four.collect(sums)
        (honest,) = (data_of(reply) for site, m, reply in wire.sent if (site, kind(m)) == ("south", "train"))
        signed = next(header for header in headers(wire))
        size = 4 * signed.narrow + 8 * signed.wide
        protocol = next(m for _, m, _ in wire.sent if kind(m) == "train").content["header"]["protocol"]
        for at in [*range(0, size, size // 11), *range(size, len(honest), 7)]:
            taken = coordinator.Sum(four.keys.roster, sums.state.cards, decode(SignedHeader, protocol))
            taken.take_report("south", honest)
            with pytest.raises(Refusal):
                taken.take_report("south", _flip(at)(honest))


@pytest.fixture
def dishonest(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """dishonest(site, name, false) has that site's reports made with another function `name`."""

    def lie(site: str, name: str, false: Callable[..., Any]) -> None:
        make = report.make_report

        def making(party, *arguments, **more):
            with pytest.MonkeyPatch.context() as patch:
                if party.site == site:
                    patch.setattr(report, name, false)
                return make(party, *arguments, **more)

        monkeypatch.setattr(report, "make_report", making)

    return lie


@pytest.mark.parametrize(
    ("peers", "out"), [(NAMES, ("south",)), (("west",), ("south", "west"))], ids=["to all", "to one"]
)
def test_unequal_pair_commitments_are_noticed_before_the_cross_check(
    peers, out: tuple[str, ...], federation, seen: Seen, dishonest
) -> None:
    """Who lies to one only takes that one along: nobody can tell which of the two it was."""
    honest = report.commitment
    dishonest(
        "south",
        "commitment",
        lambda seed, bound, *of: honest(seed ^ (len(set(of) & set(peers) - {"south"})), bound, *of),
    )
    total = collect(federation(5), Wire())
    assert total.failed == dict.fromkeys(out, "unequal_pair_seeds")
    assert np.array_equal(seen.totals[-1], seen.exact(total.sites))


@pytest.mark.parametrize("members", [1, 2])
def test_site_whose_shares_cannot_be_opened_is_left_out_where_too_few_can(
    members: int, federation, seen: Seen, dishonest
) -> None:
    """One member that cannot is not needed, nor can it get a site thrown out by its word alone."""
    four, honest, sealed = federation(4), report.seal, []

    def seal(key, bundle, context, random):
        sealed.append(bundle)
        return honest(key, bundle[:-32] if len(sealed) <= members else bundle, context, random)

    dishonest("south", "seal", seal)
    wire = Wire()
    total = collect(four, wire)
    if members == 1:
        assert total.sites == NAMES[:4] and not total.failed and not aborted(four)
        assert np.array_equal(seen.totals[-1], seen.exact(total.sites))
        return
    assert total.failed == {"south": "left_out_of_sum"} and total.sites == without("south", 4)
    assert aborted(four) == ["committee members cannot open the shares of south"]
    assert [header.cohort for header in headers(wire)] == [NAMES[:4], without("south", 4)]
    assert np.array_equal(seen.totals[-1], seen.exact(total.sites))
