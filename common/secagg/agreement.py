"""Which reports can stand in one sum: two sites that disagree on the seed of their pair would leave a mask in it."""

from collections.abc import Mapping, Sequence
from itertools import combinations

_HASH = 32


def each(joined: bytes) -> list[bytes]:
    """Hashes or shares of 32 bytes that travel as one string."""
    return [joined[at : at + _HASH] for at in range(0, len(joined), _HASH)]


def pair_commitment(pairs: bytes, cohort: Sequence[str], name: str, other: str) -> bytes:
    """What `name` committed to for its pair with `other`; pairs: its commitments, in the cohort's order without it."""
    return each(pairs)[cohort.index(other) - (other > name)]


def disagreeing(pairs: Mapping[str, bytes], cohort: Sequence[str]) -> tuple[str, ...]:
    """Sites to leave out until every two that are left agree; those in most disagreements first, ties together.

    pairs: site -> its commitments, in the cohort's order without it.
    """
    left, out = dict(pairs), []
    while conflicts := _conflicts(left, cohort):
        most = max(conflicts.values())
        worst = sorted(name for name, count in conflicts.items() if count == most)
        for name in worst:
            del left[name]
        out += worst
    return tuple(out)


def _conflicts(pairs: Mapping[str, bytes], cohort: Sequence[str]) -> dict[str, int]:
    """Site -> with how many others it disagrees, where it does at all."""
    counts: dict[str, int] = {}
    position = {name: index for index, name in enumerate(cohort)}
    listed = {name: each(joined) for name, joined in pairs.items()}
    for name, other in combinations(sorted(pairs), 2):
        at, back = position[other] - 1, position[name]  # name < other: its own place is skipped before `other`
        if listed[name][at] != listed[other][back]:
            counts[name], counts[other] = counts.get(name, 0) + 1, counts.get(other, 0) + 1
    return counts
