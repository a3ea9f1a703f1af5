"""The coordinator's side of one sum: take reports in, have the survivors signed, open the masks, add.

It is handed bytes and gives values; what it is told by a site it checks, and a site that fails a check is left out
under the check's code. Nothing here is trusted by the sites.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from common.errors import SumAborted
from common.secagg import checks
from common.secagg.agreement import disagreeing, each, pair_commitment
from common.secagg.encoding import decode
from common.secagg.field import is_element
from common.secagg.fixedpoint import FixedPoint
from common.secagg.header import Companions, fewest_contributors
from common.secagg.keystream import Mask, apply_masks
from common.secagg.messages import (
    CrossCheck,
    Header,
    Roster,
    SessionCards,
    Shares,
    SignedHeader,
    SignedReport,
    SignedShares,
    Survivors,
    Unmask,
)
from common.secagg.primitives import digest, verify
from common.secagg.report import hashes_of, split
from common.secagg.seeds import commitment, in_order, stream_key
from common.secagg.shamir import reconstruct

_MOST_SUBSETS = 50  # of members whose shares are tried together before the sum is given up


@dataclass
class Sum:
    """One sum under one signed header. Methods in the order of the protocol; each raises Refusal or SumAborted."""

    roster: Roster
    cards: SessionCards
    signed: SignedHeader
    companions: Companions = ()
    _reports: dict[str, SignedReport] = field(default_factory=dict)
    _digests: dict[str, bytes] = field(default_factory=dict)
    _masked: dict[str, memoryview] = field(default_factory=dict)
    _crosschecks: dict[str, bytes] = field(default_factory=dict)
    _shares: dict[str, Shares] = field(default_factory=dict)

    @property
    def header(self) -> Header:
        return self.signed.header

    @cached_property
    def bound(self) -> bytes:
        return digest(self.header)

    @property
    def survivors(self) -> tuple[str, ...]:
        return tuple(sorted(self._reports))

    @property
    def signers(self) -> tuple[str, ...]:
        """Members whose signature of the survivors has come."""
        return tuple(sorted(self._crosschecks))

    @property
    def members(self) -> tuple[str, ...]:
        """Committee members that are in this session."""
        present = {card.site for card in self.cards.cards}
        return tuple(name for name in self.roster.committee if name in present)

    def take_report(self, site: str, data: bytes) -> None:
        """A site's answer: its masked vector and its signed report. Raises Refusal."""
        header, size = self.header, 4 * self.header.narrow + 8 * self.header.wide
        view = memoryview(data)
        checks.require(len(data) > size and site in header.cohort, "report_short", f"{site}: no report in its answer.")
        signed = decode(SignedReport, view[size:])
        report, committee = signed.report, self.roster.committee
        checks.require(report.site == site, "report_of_another_site", f"{site}: it holds the name {report.site!r}.")
        checks.require(report.header == self.bound, "report_of_another_header", f"{site}: another header.")
        valid = verify(self._key(site), "report", report, signed.signature)
        checks.require(valid, "report_unsigned", f"{site}: the report is not signed by that site.")
        masked = hashlib.sha256(view[:size]).digest() == report.masked
        checks.require(masked, "masked_changed", f"{site}: the masked vector is not the one that was signed.")
        sealed = len(signed.ciphertexts) == len(committee) and hashes_of(signed.ciphertexts) == report.ciphertexts
        checks.require(sealed, "ciphertexts_changed", f"{site}: the ciphertexts are not those that were signed.")
        reached = {name for name, text in zip(committee, signed.ciphertexts, strict=False) if text}
        checks.require(
            set(self.members) - {site} <= reached, "ciphertexts_missing", f"{site}: a committee member got no shares."
        )
        committed = digest(signed.commitments) == report.commitments
        committed = committed and len(signed.commitments.pairs) == 32 * (len(header.cohort) - 1)
        checks.require(committed, "commitments_changed", f"{site}: the commitments are not those that were signed.")
        self._reports[site], self._masked[site], self._digests[site] = signed, view[:size], digest(report)

    def keep_only(self, names: Collection[str]) -> None:
        """Leave out every report but those of `names`: after a restart, the survivors must be the same."""
        for name in set(self._reports) - set(names):
            del self._reports[name], self._masked[name]

    def close(self) -> tuple[str, ...]:
        """Ends the report step. Returns sites whose pair commitments no other site shares, now left out.

        Raises SumAborted where too few are left for the sum, or for one of its blocks.
        """
        pairs = {name: signed.commitments.pairs for name, signed in self._reports.items()}
        unequal = disagreeing(pairs, self.header.cohort)
        self.keep_only(set(self._reports) - set(unequal))
        names, roster = self.survivors, self.roster
        if len(names) < roster.min_cohort:
            raise SumAborted(f"{len(names)} site(s) reported, the roster asks for {roster.min_cohort}", about=unequal)
        if fewest_contributors(self.cards, self.header, names, self.companions) < roster.colluding + 2:
            raise SumAborted(f"a block has fewer than {roster.colluding + 2} contributors left", about=unequal)
        return unequal

    def cross_check_for(self, member: str) -> CrossCheck:
        """What `member` is asked to sign, with its own ciphertexts."""
        index = self.roster.committee.index(member)
        reports = [self._reports[name] for name in self.survivors]
        return CrossCheck(
            self.header,
            self.signed.signature,
            tuple(signed.report for signed in reports),
            tuple(signed.signature for signed in reports),
            tuple(signed.ciphertexts[index] for signed in reports),
        )

    def take_crosscheck(self, member: str, signature: bytes) -> None:
        """A member's signature of the survivors. Raises Refusal."""
        valid = verify(self._key(member), "crosscheck", self._survivors_for(member), signature)
        checks.require(valid, "crosscheck_unsigned", f"{member}: it did not sign the survivors that it was shown.")
        self._crosschecks[member] = signature

    def unmask_request(self) -> Unmask:
        """Raises SumAborted below the threshold."""
        signers = sorted(self._crosschecks)[: self.roster.threshold]
        if len(signers) < self.roster.threshold:
            raise SumAborted(f"{len(signers)} committee member(s) signed, it takes {self.roster.threshold}")
        signatures = tuple(self._crosschecks[name] for name in signers)
        return Unmask(self.header.session, self.bound, tuple(signers), signatures)

    def take_shares(self, member: str, data: bytes) -> None:
        """A member's answer to Unmask. Raises Refusal."""
        signed = decode(SignedShares, data)
        shares, sites = signed.shares, len(self.survivors)
        named = shares.member == member and shares.header == self.bound
        checks.require(named, "shares_of_another", f"{member}: the shares are for another round or of another site.")
        valid = verify(self._key(member), "unmask", shares, signed.signature)
        checks.require(valid, "shares_unsigned", f"{member}: the shares are not signed by that site.")
        complete = len(shares.own) == 32 * sites and len(shares.pairs) == 32 * sites * len(self._missing)
        checks.require(complete, "shares_incomplete", f"{member}: it sent too few or too many shares.")
        elements = all(is_element(share) for part in (shares.own, shares.pairs) for share in each(part))
        checks.require(elements, "shares_malformed", f"{member}: a share is no element of the field.")
        self._shares[member] = shares

    def total(self) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """The sums in both rings, exact on the integers. Raises SumAborted."""
        masks = [Mask(key, not negative) for key, negative in self._masks()]
        header = self.header
        narrow, wide = np.zeros(header.narrow, dtype=np.uint32), np.zeros(header.wide, dtype=np.uint64)
        for name in self.survivors:
            own_narrow, own_wide = split(self._masked[name], header)
            narrow += own_narrow
            wide += own_wide
        apply_masks(masks, narrow, wide)
        return narrow, wide

    def values(self) -> NDArray[np.float64]:
        """(narrow + wide,) the sums as numbers. Raises SumAborted."""
        header = self.header
        return FixedPoint(header.clip_norm, header.narrow_scale, header.wide_scale).decode(*self.total())

    @property
    def _missing(self) -> list[str]:
        return [name for name in self.header.cohort if name not in self._reports]

    def _masks(self) -> Iterable[tuple[bytes, bool]]:
        """(key of the keystream, whether it was subtracted) of every mask that is left in the sum of the survivors."""
        own, pairs = self._secrets()
        for name, seed in zip(self.survivors, own, strict=True):
            yield stream_key(seed, self.bound, name), False
        for (name, other), seed in zip(self._open_pairs, pairs, strict=True):
            yield stream_key(seed, self.bound, *in_order(name, other)), other < name

    @property
    def _open_pairs(self) -> list[tuple[str, str]]:
        return [(name, other) for name in self.survivors for other in self._missing]

    def _secrets(self) -> tuple[list[int], list[int]]:
        """The survivors' self seeds and the seeds of the open pairs, each held against its commitment."""
        names, needed = sorted(self._shares), self.roster.threshold
        if len(names) < needed:
            raise SumAborted(f"{len(names)} committee member(s) opened their shares, it takes {needed}")
        expected, wrong = self._expected_commitments(), ""
        makers = [*self.survivors, *(name for name, _ in self._open_pairs)]
        for chosen in islice(combinations(names, needed), _MOST_SUBSETS):
            points = [1 + self.roster.committee.index(name) for name in chosen]
            bundles = [self._shares[name].own + self._shares[name].pairs for name in chosen]
            secrets = reconstruct(points, bundles)
            owners = [(name,) for name in self.survivors] + [in_order(*pair) for pair in self._open_pairs]
            found = [commitment(seed, self.bound, *of) for seed, of in zip(secrets, owners, strict=True)]
            if found == expected:
                return secrets[: len(self.survivors)], secrets[len(self.survivors) :]
            wrong = ", ".join(sorted({name for name, a, b in zip(makers, found, expected, strict=True) if a != b}))
        raise SumAborted(f"the shares do not give the seeds that {wrong} committed to")

    def _expected_commitments(self) -> list[bytes]:
        own = [self._reports[name].commitments.own for name in self.survivors]
        pairs = {name: self._reports[name].commitments.pairs for name in self.survivors}
        cohort = self.header.cohort
        return own + [pair_commitment(pairs[name], cohort, name, other) for name, other in self._open_pairs]

    def _survivors_for(self, member: str) -> Survivors:
        reports = tuple(self._digests[name] for name in self.survivors)
        return Survivors(member, self.bound, self.survivors, reports)

    def _key(self, site: str) -> bytes:
        return self._keys.get(site, b"")

    @cached_property
    def _keys(self) -> dict[str, bytes]:
        return dict(zip(self.roster.sites, self.roster.keys, strict=True))
