"""A site's report: its vector under masks, its seeds shared among the committee, and commitments to them.

    y = Q(x) + PRG(b) + sum over j after it of PRG(s_j) - sum over j before it of PRG(s_j)

b is fresh; s_j is shared with site j. Neither is ever stored: what opens them is in the shares alone.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.secagg.encoding import encode
from common.secagg.field import element
from common.secagg.fixedpoint import FixedPoint
from common.secagg.header import RoundState, header_of
from common.secagg.keystream import Mask, apply_masks
from common.secagg.messages import Commitments, Header, Report, SignedReport
from common.secagg.primitives import Random, digest, seal
from common.secagg.seeds import commitment, in_order, pair_seed, share_context, share_key, stream_key
from common.secagg.session import Party, SessionState
from common.secagg.shamir import share


@dataclass(frozen=True)
class Contribution:
    """What a site adds. narrow: (D,) float32, at most the clip norm long. wide: (K,) float64 counts and sums.

    coins: 32 bytes, the key of the rounding keystream; not a secret. noise: steps to add to the rounded vector, (D,)
    int32 if there are narrow entries and (K,) int64 otherwise; of one report only, and secret like its masks.
    """

    narrow: NDArray[np.float32]
    wide: NDArray[np.float64]
    coins: bytes
    noise: NDArray[np.int32] | NDArray[np.int64] | None = None


def make_report(
    party: Party, session: SessionState, state: RoundState, contribution: Contribution, *, random: Random
) -> tuple[RoundState, bytearray]:
    """The state and the bytes to store, both, before these bytes leave: the masked vector, then a SignedReport.

    Raises Refusal `entry_out_of_range` for an entry that the fixed point has no room for, and ValueError where the
    header says that there is noise and the contribution has none, or the other way round.
    """
    header, bound = header_of(state), state.header_hash
    keys = party.pair_keys(session)
    others = [name for name in header.cohort if name != party.site]
    own = element(random(40))
    pairs = {other: pair_seed(keys[other], bound, party.site, other) for other in others}
    masked = _masked(party.site, header, bound, contribution, own, pairs)
    bundles = share(
        [own, *pairs.values()], threshold=party.roster.threshold, members=len(party.roster.committee), random=random
    )
    sealed = []
    for member, bundle in zip(party.roster.committee, bundles, strict=True):
        present = member in keys  # a member without a card in this session cannot be reached
        key = share_key(keys[member], bound, party.site, member) if present else b""
        sealed.append(seal(key, bundle, share_context(bound, party.site, member), random) if present else b"")
    commitments = Commitments(
        commitment(own, bound, party.site),
        b"".join(commitment(seed, bound, *in_order(party.site, other)) for other, seed in pairs.items()),
    )
    report = Report(bound, party.site, hashlib.sha256(masked).digest(), hashes_of(sealed), digest(commitments))
    signed = SignedReport(report, party.key.sign("report", report), commitments, tuple(sealed))
    kept = b""
    if party.site in party.roster.committee:
        kept = bundles[party.roster.committee.index(party.site)]
    masked += encode(signed)
    return replace(state, report=digest(report), own_shares=kept), masked


def hashes_of(ciphertexts: Iterable[bytes]) -> bytes:
    """32 bytes for each: SHA-256, or zeros for an empty one."""
    return b"".join(hashlib.sha256(text).digest() if text else bytes(32) for text in ciphertexts)


def _masked(
    site: str, header: Header, bound: bytes, contribution: Contribution, own: int, pairs: dict[str, int]
) -> bytearray:
    """The masked vector: D unsigned 32-bit integers, then K of 64 bits. Written in place: one copy in all."""
    result = bytearray(4 * header.narrow + 8 * header.wide)
    narrow, wide = split(result, header)
    numbers = FixedPoint(header.clip_norm, header.narrow_scale, header.wide_scale)
    numbers.encode(contribution.narrow, contribution.wide, contribution.coins, narrow, wide)
    _add(contribution.noise, narrow if header.narrow else wide, header)
    masks = [Mask(stream_key(own, bound, site), negative=False)]
    for other, seed in pairs.items():
        masks.append(Mask(stream_key(seed, bound, *in_order(site, other)), negative=other < site))
    apply_masks(masks, narrow, wide)
    return result


def _add(noise: NDArray[Any] | None, ring: NDArray[Any], header: Header) -> None:
    """`ring` += `noise`, in its own memory, modulo 2^32 or 2^64."""
    if (noise is not None) != (header.noise > 0):
        found = "none" if noise is None else "some"
        raise ValueError(f"the header says {header.noise} steps of noise, the contribution has {found}")
    if noise is not None:
        if (noise.dtype.itemsize, noise.shape) != (ring.dtype.itemsize, ring.shape):
            raise ValueError(f"noise of {noise.dtype} {noise.shape} for a ring of {ring.dtype} {ring.shape}")
        ring += noise.view(ring.dtype)


def split(data: bytes | bytearray | memoryview, header: Header) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Views of both rings in the bytes of a masked vector, little-endian; writable where the bytes are."""
    narrow = np.frombuffer(data, dtype="<u4", count=header.narrow)
    return narrow, np.frombuffer(data, dtype="<u8", count=header.wide, offset=4 * header.narrow)
