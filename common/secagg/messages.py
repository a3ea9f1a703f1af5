"""Every message of the protocol, as the frozen values that `encoding` turns into bytes. docs/protocol.md explains them.

Names of sites are those of the roster. Lists of sites are strictly sorted. Hashes are SHA-256 of canonical bytes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SiteCard:
    """Enrolment: a site's name and its Ed25519 key, signed with that key (kind `enrol`)."""

    site: str
    verify_key: bytes


@dataclass(frozen=True)
class Roster:
    """Who takes part, under which rules. `previous` is the hash of the roster before, empty for the first.

    coordinator, keys: Ed25519 keys, 32 bytes. committee: sites that hold shares. threshold (t): shares that open a
    mask. colluding (f): hospitals that may side with the coordinator. min_cohort (m): fewest sites in a sum.
    """

    federation: str
    number: int
    previous: bytes
    coordinator: bytes
    sites: tuple[str, ...]
    keys: tuple[bytes, ...]
    committee: tuple[str, ...]
    threshold: int
    colluding: int
    min_cohort: int
    narrow_bits: int = 32
    wide_bits: int = 64
    wide_fraction_bits: int = 20


@dataclass(frozen=True)
class SignedRoster:
    """A roster and who signed it (kind `roster`): `signatures[i]` is that of `signers[i]`.

    cards: for each newcomer, its signature of its own card (kind `enrol`). renewals: for each site with a new key, the
    old key's signature of the new card (kind `enrol`). Both in the order of the names beside them.
    """

    roster: Roster
    signers: tuple[str, ...]
    signatures: tuple[bytes, ...]
    newcomers: tuple[str, ...]
    cards: tuple[bytes, ...]
    renewed: tuple[str, ...]
    renewals: tuple[bytes, ...]


@dataclass(frozen=True)
class OpenSession:
    """Coordinator to site: open a session of this roster for this plan. session: 32 bytes, unique."""

    session: bytes
    roster: bytes
    plan: bytes


@dataclass(frozen=True)
class CloseSession:
    """Coordinator to site: nothing more will be asked in this session; its keys are to be erased."""

    session: bytes


@dataclass(frozen=True)
class SessionCard:
    """A site's fresh X25519 key and what it declares, signed (kind `session-key`).

    levels: for each block of the plan its weight in eighths: 0, 1, 2, 4 or 8.
    """

    session: bytes
    roster: bytes
    plan: bytes
    site: str
    exchange_key: bytes
    levels: tuple[int, ...]


@dataclass(frozen=True)
class SessionCards:
    """All cards of a session with their signatures, sorted by site. Its hash stands in every header."""

    cards: tuple[SessionCard, ...]
    signatures: tuple[bytes, ...]


@dataclass(frozen=True)
class Header:
    """What one sum is over, signed by the coordinator (kind `header`). Every mask of the round depends on all of it.

    cards: hash of SessionCards, in which the levels stand. purpose, training_round, stage: the question. cohort: sites
    asked. blocks: indices of the plan's blocks that take part. pairs: of two such blocks, first * number of blocks +
    second: entries of the first that learn from data only at a site that holds both. model: hash of the vector sent
    with the question. layout: hash of the meaning of every entry. narrow, wide: entries in the rings 2^32 and 2^64.
    noise: standard deviation, in steps, of what every site adds to each entry that takes part, of the narrow ones if
    there are any, else of the wide ones; 0, none. subject: hash of the part of the vector that says what the sum is
    about; empty for all of it.
    """

    session: bytes
    round: int
    roster: bytes
    cards: bytes
    plan: bytes
    purpose: str
    training_round: int
    stage: int
    cohort: tuple[str, ...]
    blocks: tuple[int, ...]
    pairs: tuple[int, ...]
    model: bytes
    layout: bytes
    narrow: int
    wide: int
    clip_norm: float
    narrow_scale: float
    wide_scale: float
    noise: int = 0
    subject: bytes = b""


@dataclass(frozen=True)
class Commitments:
    """Hashes, 32 bytes each: of a site's self seed; of its pair seed with every other cohort site, in their order."""

    own: bytes
    pairs: bytes


@dataclass(frozen=True)
class Report:
    """What a site signs (kind `report`). header: hash. masked: hash of the masked vector. commitments: hash.

    ciphertexts: hash of each committee member's ciphertext, 32 bytes each in the roster's order; zeros where there is
    none, for the site itself and for members that are not in the session.
    """

    header: bytes
    site: str
    masked: bytes
    ciphertexts: bytes
    commitments: bytes


@dataclass(frozen=True)
class SignedReport:
    """What follows the masked vector in a site's answer. ciphertexts: nonce and AES-256-GCM ciphertext per member."""

    report: Report
    signature: bytes
    commitments: Commitments
    ciphertexts: tuple[bytes, ...]


@dataclass(frozen=True)
class CrossCheck:
    """Coordinator to a committee member: whose reports have arrived, and this member's ciphertext of each."""

    header: Header
    header_signature: bytes
    reports: tuple[Report, ...]
    signatures: tuple[bytes, ...]
    ciphertexts: tuple[bytes, ...]


@dataclass(frozen=True)
class Survivors:
    """What a member signs (kind `crosscheck`): these sites' reports, by their hashes, are in the sum of this header."""

    member: str
    header: bytes
    sites: tuple[str, ...]
    reports: tuple[bytes, ...]


@dataclass(frozen=True)
class Unmask:
    """Coordinator to a member: threshold signatures of the same survivors by distinct members."""

    session: bytes
    header: bytes
    members: tuple[str, ...]
    signatures: tuple[bytes, ...]


@dataclass(frozen=True)
class Shares:
    """A member's shares, 32 bytes each, signed (kind `unmask`). own: of each survivor's self seed, in their order.

    pairs: of the seed of each (survivor, missing cohort site), in the order of survivors, then of missing sites.
    """

    header: bytes
    member: str
    own: bytes
    pairs: bytes


@dataclass(frozen=True)
class SignedCard:
    """A site's answer to OpenSession."""

    card: SessionCard
    signature: bytes


@dataclass(frozen=True)
class SignedHeader:
    """Travels with the question of a round."""

    header: Header
    signature: bytes


@dataclass(frozen=True)
class SignedShares:
    """A member's answer to Unmask."""

    shares: Shares
    signature: bytes
