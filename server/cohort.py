"""Who takes part: the sites that answered, and the weight level each declared for each block."""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.contribution import Contribution
from common.errors import RunError, TooFewSites
from common.model import LEVELS, Layout
from server.exchange import Question, ask

NODE = "node "
"""How the name of a node begins of which no site is known."""
_SITE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


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


def enrol(
    grid: Grid,
    layout: Layout,
    *,
    wanted: int,
    wait_s: float,
    timeout_s: float,
    least: int | None = None,
    protocol: bytes = b"",
) -> tuple[Cohort, dict[str, str]]:
    """Ask every connected node what it can train. Returns the cohort, and the code of each node that declined.

    wanted, least, wait_s: nodes to wait for, as in `wait_for_nodes`.
    protocol: OpenSession of a plan with secure sums; the sites' cards are then in the cohort, not yet checked.
    """
    nodes = wait_for_nodes(grid, wanted=wanted, timeout_s=wait_s, least=least)
    question = Question("query.declare", layout.plan.hash, protocol=protocol)
    answers = ask(grid, nodes, question, timeout_s=timeout_s)
    names: dict[int, str] = {}
    levels: dict[str, NDArray[np.float64]] = {}
    cards: dict[str, bytes] = {}
    failed = {f"{NODE}{node}": code for node, code in answers.failed.items()}
    for node, content in sorted(answers.contents.items()):
        declared = _declaration(content, layout)
        if declared is None:
            failed[f"{NODE}{node}"] = "malformed_declaration"  # the name it gives may be another's
            continue
        site, own, card = declared
        if site in levels:
            raise RunError(f"two sites call themselves {site!r}; every site needs its own name in its site.toml.")
        names[node], levels[site], cards[site] = site, own, card
    return Cohort(names, levels, cards), failed


def _declaration(content: RecordDict, layout: Layout) -> tuple[str, NDArray[np.float64], bytes] | None:
    """(site, levels, card) of a well-formed declaration."""
    record = content.get("declaration")
    if not isinstance(record, ConfigRecord):
        return None
    site, blocks, levels = record.get("site"), record.get("blocks"), record.get("levels")
    card = record.get("card", b"")
    if not isinstance(card, bytes):
        return None
    if not isinstance(site, str) or not _SITE.fullmatch(site):
        return None
    if blocks != list(layout.block_names) or not isinstance(levels, list) or len(levels) != len(layout.block_names):
        return None
    if not all(type(level) is float and level in LEVELS for level in levels):
        return None
    return site, np.array(levels, dtype=np.float64), card
