"""What nodes declare: who they are and what they can train, each read strictly; and one node for each name.

Every node may call itself what it likes. In a plan with secure sums its card is signed with the key that the roster has
for that name, so that one which uses another's is told from the one that it belongs to; in plain sums nothing is.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.model import LEVELS, Layout
from server.cohort import NODE, Cohort
from server.exchange import Answers, Question, ask

TWICE = "name_twice"
"""A node that calls itself as another does, and cannot prove it; or a name that two use, where neither or both can."""
_SITE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Declaration:
    """Of one node. levels: (blocks,) float64. card: encoded, of a secure session; empty in plain sums."""

    node: int
    site: str
    levels: NDArray[np.float64]
    card: bytes


Check = Callable[[Declaration], str]
"""With which code a declaration is refused; empty where it proves whose it is."""


def question(layout: Layout, *, protocol: bytes = b"") -> Question:
    """protocol: OpenSession of a plan with secure sums."""
    return Question("query.declare", layout.plan.hash, protocol=protocol)


def enrol(grid: Grid, nodes: Collection[int], layout: Layout, *, timeout_s: float) -> tuple[Cohort, dict[str, str]]:
    """Ask `nodes` in the open what they can train, and wait at most `timeout_s` seconds; as `cohort_of`."""
    return cohort_of(ask(grid, nodes, question(layout), timeout_s=timeout_s), layout)


def cohort_of(
    answers: Answers, layout: Layout, *, check: Check | None = None, taken: Collection[str] = ()
) -> tuple[Cohort, dict[str, str]]:
    """The sites that have declared themselves, and the code of each node or site that has not, or is left out.

    check: of what proves a name; None: nothing does. taken: names of sites that take part already, as other nodes.
    """
    failed = {f"{NODE}{node}": code for node, code in answers.failed.items()}
    by_name: dict[str, list[Declaration]] = {}
    for node, content in sorted(answers.contents.items()):
        declared = _read(node, content, layout)
        if declared is None:
            failed[f"{NODE}{node}"] = "malformed_declaration"  # the name it gives may be another's
        else:
            by_name.setdefault(declared.site, []).append(declared)
    kept: list[Declaration] = []
    for site, those in by_name.items():
        if len(those) == 1 and site not in taken:
            if code := check(those[0]) if check else "":
                failed[site] = code
            else:
                kept.append(those[0])
            continue
        proven = [each for each in those if not check(each)] if check else []
        if len(proven) == 1:
            kept += proven
        elif site not in taken:
            failed[site] = TWICE
            continue
        failed |= {f"{NODE}{each.node}": TWICE for each in those if len(proven) != 1 or each is not proven[0]}
    names = {each.node: each.site for each in kept}
    levels = {each.site: each.levels for each in kept}
    return Cohort(names, levels, {each.site: each.card for each in kept}), failed


def _read(node: int, content: RecordDict, layout: Layout) -> Declaration | None:
    """A declaration that is well formed."""
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
    return Declaration(node, site, np.array(levels, dtype=np.float64), card)
