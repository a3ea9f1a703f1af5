"""Who takes part: the sites that answered, and the weight level each declared for each block."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.contribution import Contribution
from common.errors import TooFewSites

NODE = "node "
"""How the name of a node begins of which no site is known."""


@dataclass(frozen=True)
class Cohort:
    """names: node -> site. levels: site -> (blocks,) float64, each one of `common.model.LEVELS`.

    cards: site -> the encoded card of a secure session that came with the declaration.
    """

    names: dict[int, str]
    levels: dict[str, NDArray[np.float64]]
    cards: dict[str, bytes] = field(default_factory=dict)

    def holders(self, block: int) -> list[str]:
        """Sites that declared `block`."""
        return sorted(site for site, levels in self.levels.items() if levels[block] > 0)

    def without(self, sites: Collection[str]) -> "Cohort":
        """The others."""
        names = {node: site for node, site in self.names.items() if site not in sites}
        kept = set(names.values())
        return Cohort(
            names,
            {site: levels for site, levels in self.levels.items() if site in kept},
            {site: card for site, card in self.cards.items() if site in kept},
        )

    def plus(self, others: "Cohort") -> "Cohort":
        """With `others` as well; a site that is in both is the node that it is in `others`."""
        rest = self.without(others.levels)
        return Cohort(rest.names | others.names, rest.levels | others.levels, rest.cards | others.cards)


def shared_by(
    held: NDArray[np.bool_], contribution: Contribution, *, least: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks of `contribution`, and pairs of such blocks, that at least `least` sites fill. held: (sites, blocks).

    A site fills a block that it declared, where the block needs a companion together with one that is shared.
    """
    shared = held.sum(axis=0) >= least
    for block, others in contribution.companions:
        beside = [other for other in others if shared[other]]
        shared[block] &= (held[:, block] & held[:, beside].any(axis=1)).sum() >= least
    blocks, codes = np.flatnonzero(shared), np.array(contribution.pairs, dtype=np.int64)
    first, second = np.divmod(codes, held.shape[1])
    both = (held[:, first] & held[:, second]).sum(axis=0) >= least
    both &= shared[first] & shared[second]
    return tuple(blocks.tolist()), tuple(codes[both].tolist())


def wait_for_nodes(grid: Grid, *, wanted: int, timeout_s: float, least: int | None = None) -> list[int]:
    """Node identifiers once `wanted` are connected, or after `timeout_s` seconds if at least `least` of them are.

    least: `wanted`, if it is not given. Raises TooFewSites.
    """
    deadline = time.monotonic() + timeout_s
    while len(nodes := sorted(grid.get_node_ids())) < wanted:
        if time.monotonic() >= deadline:
            if least is not None and len(nodes) >= least:
                break
            raise TooFewSites(f"{len(nodes)} of {wanted} sites were connected after {timeout_s:g} s.")
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
    return nodes
