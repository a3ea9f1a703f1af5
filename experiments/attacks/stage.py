"""A small federation with live sites, whose coordinator is the attacker: it may send anything to any of them.

Five sites, f = 1, a committee of four (all but elm), t = 3, m = 3. alder is the victim; birch sides with the
coordinator where an attack says so. The sites are those of client/secure/answers.py, each with its own store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.secure.answers import Round, SecureSite
from client.secure.store import MemoryVault
from common import contribution
from common.files import read_plan
from common.plan import Plan
from common.privacy.shares import fixed_point, noise_steps
from common.secagg import roster as rosters
from common.secagg.coordinator import Sum
from common.secagg.encoding import decode, encode
from common.secagg.fixedpoint import FixedPoint
from common.secagg.header import RoundState
from common.secagg.messages import (
    CrossCheck,
    Header,
    OpenSession,
    Roster,
    SessionCards,
    Shares,
    SignedCard,
    SignedHeader,
    SignedReport,
    SignedShares,
    Unmask,
)
from common.secagg.primitives import SigningKey, digest
from common.secagg.report import Contribution
from common.secagg.session import Party, Policy

SITES = ("alder", "birch", "cedar", "dogwood", "elm")
VICTIM, COLLUDER, OUTSIDER = "alder", "birch", "elm"
MODEL = bytes(32)


@lru_cache(maxsize=1)
def plan() -> Plan:
    """The demo's plan."""
    with as_file(files("experiments") / "demo.toml") as path:
        return read_plan(path)


@lru_cache(maxsize=1)
def layout() -> contribution.Contribution:
    """What a site sends in a round of training: 4,856 parameters and the tallies."""
    return contribution.Contribution(plan(), "train", 0)


@lru_cache(maxsize=1)
def noisy_plan() -> Plan:
    """The demo's plan, in which shares of noise hide what each hospital sends in training."""
    rules = {"unit": "hospital", "noise": "shared", "noise_multiplier": 1.0}
    return Plan.model_validate(plan().model_dump() | {"privacy": rules})


def blocks() -> int:
    return len(layout().layout.block_names)


@dataclass
class Stage:
    """policy, approved: rules and plan of every site. levels: site -> eighths per block, where not all are 8."""

    policy: Policy = field(default_factory=Policy)
    levels: Mapping[str, Sequence[int]] = field(default_factory=dict)
    approved: Plan = field(default_factory=plan)
    sites: dict[str, SecureSite] = field(init=False)

    def __post_init__(self) -> None:
        self.asked = layout() if self.approved is plan() else contribution.Contribution(self.approved, "train", 0)
        self._random = np.random.default_rng(4)
        self.keys = {name: SigningKey.new(self._random.bytes) for name in SITES}
        self.coordinator = SigningKey.new(self._random.bytes)
        self.signed_roster = rosters.found(self.keys, federation="grove", coordinator=self.coordinator, colluding=1)
        self.sites = {name: self._site(name, MemoryVault()) for name in SITES}
        self.session = self._random.bytes(32)
        self._rounds = 0
        self._update = {name: self._vector(name) for name in SITES}
        self._cards: SessionCards | None = None

    @property
    def random(self) -> Any:
        """n -> n bytes."""
        return self._random.bytes

    @property
    def roster(self) -> Roster:
        return self.signed_roster.roster

    @property
    def request(self) -> OpenSession:
        return OpenSession(self.session, digest(self.roster), bytes.fromhex(self.approved.hash))

    @property
    def cards(self) -> SessionCards:
        """The true cards of the session, which every site has from the first look at them."""
        if self._cards is None:
            self._cards = self.open_session()
            for site in self.sites.values():
                site.take_cards(encode(self._cards))
        return self._cards

    def another_session(self) -> None:
        """From here on, a new session with all sites; the one before stays open."""
        self.session, self._cards = self._random.bytes(32), None

    def open_session(self) -> SessionCards:
        """The cards of all sites; nobody has the list yet."""
        found = [
            decode(SignedCard, site.open(encode(self.request), [level / 8 for level in self._levels(name)]))
            for name, site in self.sites.items()
        ]
        return SessionCards(tuple(each.card for each in found), tuple(each.signature for each in found))

    def header(self, **changes: Any) -> Header:
        """An honest header of the next round of training over all sites, but for `changes`."""
        self._rounds += 1
        fixed = fixed_point(self.asked, sites=len(SITES))
        cards = changes.get("cards") or digest(self.cards)  # the true list goes out only where no other is named
        honest = Header(
            session=self.session,
            round=self._rounds,
            roster=digest(self.roster),
            cards=cards,
            plan=bytes.fromhex(self.approved.hash),
            purpose="train",
            training_round=1,
            stage=0,
            cohort=SITES,
            blocks=tuple(range(blocks())),
            pairs=self.asked.pairs,
            model=MODEL,
            layout=self.asked.hash,
            narrow=self.asked.narrow,
            wide=self.asked.wide,
            clip_norm=fixed.clip_norm,
            narrow_scale=fixed.narrow_scale,
            wide_scale=fixed.wide_scale,
            noise=noise_steps(self.asked, fixed),
        )
        return replace(honest, **changes)

    def signed(self, **changes: Any) -> SignedHeader:
        """`header`, signed with the coordinator's key."""
        header = self.header(**changes)
        return SignedHeader(header, self.coordinator.sign("header", header))

    def report(self, name: str, signed: SignedHeader, *, model: bytes | None = None) -> bytes:
        """What the site answers. model: hash of the vector that comes with the question; the header's own if None."""
        shown = signed.header.model if model is None else model
        begun = self.sites[name].begin(encode(signed), self.asked, training_round=1, model=shown)
        if begun.stored:
            return begun.stored
        narrow, wide = self.values(name, signed.header)
        site = self.sites[name]
        return site.report(begun, Contribution(narrow, wide, site.coins(begun), site.noise(begun)))

    def reports(self, signed: SignedHeader, names: Sequence[str] | None = None) -> dict[str, bytes]:
        return {name: self.report(name, signed) for name in names or signed.header.cohort}

    def sum(self, signed: SignedHeader, reports: Mapping[str, bytes]) -> Sum:
        """The coordinator's own code, with these reports taken in."""
        total = Sum(self.roster, self.cards, signed)
        for name, data in reports.items():
            total.take_report(name, data)
        return total

    def cross_check(self, member: str, message: CrossCheck) -> bytes:
        return self.sites[member].cross_check(encode(message))

    def unmask(self, member: str, message: Unmask) -> Shares:
        return decode(SignedShares, self.sites[member].unmask(encode(message))).shares

    def finish(self, total: Sum, members: Sequence[str] | None = None) -> Sum:
        """Cross-check and unmask as an honest coordinator does."""
        members = members or self.roster.committee
        for member in members:
            total.take_crosscheck(member, self.cross_check(member, total.cross_check_for(member)))
        for member in members:
            total.take_shares(member, self.sites[member].unmask(encode(total.unmask_request())))
        return total

    def values(self, name: str, header: Header) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """What the site adds: (4856,) float32 and (K,) float64, zeros in blocks that are left out or not declared."""
        own = {block for block, level in enumerate(self._levels(name)) if level > 0}
        pairs = [pair for pair in header.pairs if set(divmod(pair, blocks())) <= own]
        taking_part = self.asked.entries_of(set(header.blocks) & own, pairs)
        kept = np.where(taking_part, self._update[name], 0.0)
        return kept[: self.asked.narrow].astype(np.float32), kept[self.asked.narrow :]

    def truth(self, name: str, header: Header) -> NDArray[np.int64]:
        """The integers that the site masks, (N,) int64."""
        site, fixed = self.sites[name], FixedPoint(header.clip_norm, header.narrow_scale, header.wide_scale)
        begun = Round(SignedHeader(header, b""), RoundState(), b"")
        return np.concatenate(fixed.integers(*self.values(name, header), site.coins(begun)))

    def true_sum(self, total: Sum) -> NDArray[np.int64]:
        """(N,) int64: the sum of the survivors' integers."""
        true: NDArray[np.int64] = np.sum([self.truth(name, total.header) for name in total.survivors], axis=0)
        return true

    def opened(self, total: Sum) -> NDArray[np.int64]:
        """(N,) int64: what the coordinator has at the end."""
        narrow, wide = total.total()
        return np.concatenate([narrow.view(np.int32), wide.view(np.int64)])

    def pair_key(self, one: str, other: str) -> bytes:
        """k_ij as the site `one` has it."""
        site = self.sites[one]
        with site.vault.open() as store:
            return site.party.pair_keys(store.session(self.session)[0])[other]

    def restart(self, name: str) -> None:
        """The site's process ends and another begins with the same store."""
        self.sites[name] = self._site(name, self.sites[name].vault)

    def _site(self, name: str, vault: Any) -> SecureSite:
        party = Party(name, self.keys[name], self.roster, self.policy)
        return SecureSite(self.approved, party, vault, self._random.bytes)

    def _levels(self, name: str) -> Sequence[int]:
        return self.levels.get(name, (8,) * blocks())

    def _vector(self, name: str) -> NDArray[np.float64]:
        random = np.random.default_rng(SITES.index(name))
        update = random.normal(size=self.asked.narrow)
        tallies = random.integers(0, 1000, self.asked.wide).astype(np.float64)
        return np.concatenate([update * (0.99 * self.approved.aggregation.clip_norm / np.linalg.norm(update)), tallies])


def signed_report(data: bytes, header: Header) -> SignedReport:
    """The part of a site's answer after the masked vector."""
    return decode(SignedReport, data[4 * header.narrow + 8 * header.wide :])
