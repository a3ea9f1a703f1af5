"""What the attacker can work out: it collects shares and keys of any origin and takes off the masks that they open."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.secagg.keystream import Mask, apply_masks
from common.secagg.messages import Shares, SignedHeader
from common.secagg.primitives import digest, unseal
from common.secagg.report import split
from common.secagg.seeds import in_order, pair_seed, share_context, share_key, stream_key
from common.secagg.shamir import reconstruct
from experiments.attacks.measure import Measured, recovered
from experiments.attacks.stage import COLLUDER, VICTIM, Stage, signed_report


class Attacker:
    """The coordinator of one round, after one site's report. Owners: one site for its self seed, two in order."""

    def __init__(self, stage: Stage, signed: SignedHeader, *, victim: str = VICTIM) -> None:
        self._stage, self._header, self._victim = stage, signed.header, victim
        self._bound = digest(signed.header)
        self._shares: dict[tuple[str, ...], dict[int, bytes]] = defaultdict(dict)
        self._seeds: dict[tuple[str, ...], int] = {}

    def learn(self, member: str, survivors: Sequence[str], shares: Shares) -> None:
        """A member's answer to Unmask, which was shown these survivors."""
        missing = [name for name in self._header.cohort if name not in survivors]
        owners: list[tuple[str, ...]] = [(name,) for name in survivors]
        owners += [in_order(name, other) for name in survivors for other in missing]
        self._keep(member, owners, shares.own + shares.pairs)

    def learn_sealed(self, member: str, sender: str, sealed: bytes, key: bytes) -> None:
        """A report's ciphertext for `member`, whose key with the sender the attacker has."""
        context = (self._bound, sender, member)
        bundle = unseal(share_key(key, *context), sealed, share_context(*context))
        if bundle is not None:
            self._keep(member, self._owners(sender), bundle)

    def learn_pair(self, other: str, key: bytes) -> None:
        """k_ij of the victim and `other`."""
        self._seeds[in_order(self._victim, other)] = pair_seed(key, self._bound, self._victim, other)

    def ask_colluder(self, data: bytes) -> None:
        """All that birch knows about the victim, whose report is `data`: its shares, and their common key."""
        self._ask(COLLUDER, data)
        if COLLUDER in self._header.cohort:
            self.learn_pair(COLLUDER, self._stage.pair_key(COLLUDER, self._victim))

    def ask_everyone(self, data: bytes) -> None:
        """More than any attacker has: every other member opens its shares of the victim's seeds."""
        for member in self._stage.roster.committee:
            if member != self._victim:
                self._ask(member, data)

    def _ask(self, member: str, data: bytes) -> None:
        sealed = signed_report(data, self._header).ciphertexts[self._stage.roster.committee.index(member)]
        self.learn_sealed(member, self._victim, sealed, self._stage.pair_key(member, self._victim))

    def open(self, data: bytes) -> Measured:
        """The victim's report, `data`, with every mask taken off whose seed is known, against the truth."""
        return recovered(self.guess(data), self._stage.truth(self._victim, self._header), f"{self._victim}'s update")

    def guess(self, data: bytes, *, own_only: bool = False) -> NDArray[np.int64]:
        """(N,) what is left of the report's vector. own_only: only the self mask is taken off."""
        copy = bytearray(data)
        narrow, wide = split(copy, self._header)
        masks = []
        for owners in self._owners(self._victim)[: 1 if own_only else None]:
            seed = self._seed(owners)
            if seed is not None:
                was_negative = any(name < self._victim for name in owners)
                masks.append(Mask(stream_key(seed, self._bound, *owners), negative=not was_negative))
        apply_masks(masks, narrow, wide)
        return np.concatenate([narrow.view(np.int32), wide.view(np.int64)])

    def _owners(self, site: str) -> list[tuple[str, ...]]:
        return [(site,), *(in_order(site, name) for name in self._header.cohort if name != site)]

    def _keep(self, member: str, owners: Sequence[tuple[str, ...]], shares: bytes) -> None:
        point = 1 + self._stage.roster.committee.index(member)
        for at, owner in enumerate(owners):
            self._shares[owner][point] = shares[32 * at : 32 * (at + 1)]

    def _seed(self, owners: tuple[str, ...]) -> int | None:
        points = sorted(self._shares[owners])[: self._stage.roster.threshold]
        if owners not in self._seeds and len(points) == self._stage.roster.threshold:
            self._seeds[owners] = reconstruct(points, [self._shares[owners][point] for point in points])[0]
        return self._seeds.get(owners)
