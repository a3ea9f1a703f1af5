"""Every secret that is derived, and what it is bound to. `header` is the hash of the round's header: a site that was
given another model, cohort or clip norm derives other masks, and its vector stays noise.
"""

import hashlib
from dataclasses import dataclass

from common.secagg.field import element, to_bytes
from common.secagg.primitives import derive


@dataclass(frozen=True)
class Bound:
    """What the keys of a session are bound to: hashes of the roster and of the cards, and the session's number."""

    roster: bytes
    session: bytes
    cards: bytes


def in_order(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def pair_key(agreed: bytes, bound: Bound, one: str, other: str) -> bytes:
    """k_ij, kept for a session. agreed: X25519 of the two sites' session keys."""
    return derive(agreed, "pair", bound.roster, bound.session, bound.cards, *in_order(one, other))


def pair_seed(key: bytes, header: bytes, one: str, other: str) -> int:
    """s_ij of one round, an element of the field: 40 bytes modulo p, so that no value is visibly more likely."""
    return element(derive(key, "mask", header, *in_order(one, other), length=40))


def stream_key(seed: int, header: bytes, *owners: str) -> bytes:
    """Key of the keystream that masks; owners: one site for its self mask, two in order for a pair."""
    return derive(to_bytes(seed), "prg", header, *owners)


def share_key(key: bytes, header: bytes, sender: str, member: str) -> bytes:
    """One key per direction and message."""
    return derive(key, "share", header, sender, member)


def share_context(header: bytes, sender: str, member: str) -> bytes:
    """Associated data of the shares' ciphertext."""
    return _parts(b"share", header, sender.encode(), member.encode())


def commitment(seed: int, header: bytes, *owners: str) -> bytes:
    """SHA-256 that binds a site to a seed without showing it (a seed has 255 random bits)."""
    label = b"self" if len(owners) == 1 else b"pair"
    return hashlib.sha256(_parts(label, header, *(name.encode() for name in owners), to_bytes(seed))).digest()


def _parts(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
