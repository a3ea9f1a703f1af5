"""A federation on a stage: sites and coordinator of the pure protocol in one process, without Flower or files."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import combinations
from random import Random

import numpy as np

from common.secagg.coordinator import Sum
from common.secagg.encoding import decode, encode
from common.secagg.fixedpoint import FixedPoint
from common.secagg.header import Question
from common.secagg.messages import (
    Header,
    OpenSession,
    SessionCards,
    SignedCard,
    SignedHeader,
)
from common.secagg.noise import NoiseShare
from common.secagg.primitives import SigningKey, digest
from common.secagg.roster import found
from tests.common.secagg.stage_site import PLAN, Site, coins_of

LAYOUT = sha256(b"layout").digest()
CLIP = 0.5
Vectors = tuple[np.ndarray, np.ndarray]


class Stage:
    """Sites under one roster, and what an honest coordinator does. Every number follows from `seed`."""

    def __init__(
        self, count: int, *, colluding: int = 0, missing: int | None = None, parameters: int = 20, tallies: int = 3,
        seed: int = 0, noise: NoiseShare | None = None,
    ) -> None:  # fmt: skip
        self.random = Random(seed)
        self.numbers = np.random.default_rng(seed)
        names = [f"site{i:03d}" for i in range(count)]
        keys = {name: SigningKey.new(self.random.randbytes) for name in names}
        self.key = SigningKey.new(self.random.randbytes)
        signed = found(keys, federation="stage", coordinator=self.key, colluding=colluding, missing=missing)
        self.roster = signed.roster
        self.fixed = FixedPoint.fit(clip_norm=CLIP, sites=count, noise=noise)
        scales = (CLIP, self.fixed.narrow_scale, self.fixed.wide_scale)
        steps = 0 if noise is None else noise.steps(self.fixed.narrow_scale)
        self.question = Question(PLAN, "train", 0, 0, LAYOUT, parameters, tallies, *scales, steps)
        roster = encode(self.roster)
        self.sites = {
            name: Site(name, key, roster, self.question, Random(self.random.randbytes(16)))
            for name, key in keys.items()
        }

    def open(self, levels: dict[str, Sequence[int]]) -> None:
        """A new session of the sites in `levels`: what each declares, in eighths, for every block."""
        self.request = OpenSession(self.random.randbytes(32), digest(self.roster), PLAN)
        self.levels = {name: levels[name] for name in sorted(levels)}
        signed = [decode(SignedCard, self.sites[name].open(self.request, own)) for name, own in self.levels.items()]
        self.cards = SessionCards(tuple(each.card for each in signed), tuple(each.signature for each in signed))
        self.card_list = encode(self.cards)
        for name in self.levels:
            self.sites[name].take_cards(self.card_list)

    def header(self, number: int, cohort: Iterable[str], model: bytes) -> SignedHeader:
        """The coordinator's header of a sum over `cohort`, with every block that enough of its sites declared."""
        names, asked = tuple(sorted(cohort)), self.question
        count = len(next(iter(self.levels.values())))
        blocks = [block for block in range(count) if self.enough(names, block)]
        pairs = [one * count + two for one, two in combinations(blocks, 2) if self.enough(names, one, two)]
        made = Header(
            session=self.request.session,
            round=number,
            roster=digest(self.roster),
            cards=digest(self.cards),
            plan=PLAN,
            purpose=asked.purpose,
            training_round=number,
            stage=asked.stage,
            cohort=names,
            blocks=tuple(blocks),
            pairs=tuple(pairs),
            model=model,
            layout=LAYOUT,
            narrow=asked.narrow,
            wide=asked.wide,
            clip_norm=CLIP,
            narrow_scale=asked.narrow_scale,
            wide_scale=asked.wide_scale,
            noise=asked.noise,
        )
        return SignedHeader(made, self.key.sign("header", made))

    def enough(self, names: Iterable[str], *blocks: int) -> bool:
        """Whether f + 2 of these sites declared all of `blocks`."""
        return sum(all(self.levels[name][b] > 0 for b in blocks) for name in names) >= self.roster.colluding + 2

    def sum(self, signed: SignedHeader) -> Sum:
        return Sum(self.roster, self.cards, signed)

    def contribution(self) -> Vectors:
        """(D,) float32 of the greatest norm that is allowed, and (K,) float64 tallies with fractions."""
        narrow = self.numbers.normal(size=self.question.narrow)
        narrow = (narrow * (CLIP / np.linalg.norm(narrow))).astype(np.float32)
        return narrow, self.numbers.integers(0, 10**6, self.question.wide) / 4

    def assert_opens_exactly(self, total: Sum, given: dict[str, Vectors]) -> None:
        """The sum of what the survivors gave: bit for bit in fixed point, and within the stated bound of the reals."""
        number, size = total.header.round, self.question.narrow
        assert tuple(sorted(given)) == total.survivors
        integers = [self.fixed.integers(*each, coins_of(name, number)) for name, each in given.items()]
        narrow, wide = total.total()
        assert np.array_equal(narrow.view(np.int32), sum(each[0].astype(np.int64) for each in integers))
        assert np.array_equal(wide.view(np.int64), sum(each[1] for each in integers))
        values, exact = total.values(), sum(each[0].astype(np.float64) for each in given.values())
        assert np.linalg.norm(values[:size] - exact) <= self.fixed.error_bound(size, len(given))
        assert np.array_equal(values[size:], sum(each[1] for each in given.values()))  # quarters: exact in this ring
