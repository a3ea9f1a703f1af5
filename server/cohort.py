"""Who takes part: the sites that answered, and the weight level each declared for each block."""

import re
import time
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.errors import RunError, TooFewSites
from common.model import LEVELS, Layout
from server.exchange import Question, ask

_SITE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Cohort:
    """names: node -> site. levels: site -> (blocks,) float64, each one of `common.model.LEVELS`."""

    names: dict[int, str]
    levels: dict[str, NDArray[np.float64]]

    def holders(self, block: int) -> list[str]:
        """Sites that declared `block`."""
        return sorted(site for site, levels in self.levels.items() if levels[block] > 0)


def wait_for_nodes(grid: Grid, *, wanted: int, timeout_s: float) -> list[int]:
    """Node identifiers once `wanted` are connected; raises TooFewSites after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while len(nodes := sorted(grid.get_node_ids())) < wanted:
        if time.monotonic() >= deadline:
            raise TooFewSites(f"{len(nodes)} of {wanted} sites were connected after {timeout_s:g} s.")
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
    return nodes


def enrol(grid: Grid, layout: Layout, *, wanted: int, wait_s: float, timeout_s: float) -> tuple[Cohort, dict[str, str]]:
    """Ask every connected node what it can train. Returns the cohort, and the code of each node that declined."""
    nodes = wait_for_nodes(grid, wanted=wanted, timeout_s=wait_s)
    answers = ask(grid, nodes, Question("query.declare", layout.plan.hash), timeout_s=timeout_s)
    names: dict[int, str] = {}
    levels: dict[str, NDArray[np.float64]] = {}
    failed = {f"node {node}": code for node, code in answers.failed.items()}
    for node, content in sorted(answers.contents.items()):
        declared = _declaration(content, layout)
        if declared is None:
            failed[f"node {node}"] = "malformed_declaration"  # the name it gives may be another's
            continue
        site, own = declared
        if site in levels:
            raise RunError(f"two sites call themselves {site!r}; every site needs its own name in its site.toml.")
        names[node], levels[site] = site, own
    return Cohort(names, levels), failed


def _declaration(content: RecordDict, layout: Layout) -> tuple[str, NDArray[np.float64]] | None:
    """(site, levels) of a well-formed declaration."""
    record = content.get("declaration")
    if not isinstance(record, ConfigRecord):
        return None
    site, blocks, levels = record.get("site"), record.get("blocks"), record.get("levels")
    if not isinstance(site, str) or not _SITE.fullmatch(site):
        return None
    if blocks != list(layout.block_names) or not isinstance(levels, list) or len(levels) != len(layout.block_names):
        return None
    if not all(type(level) is float and level in LEVELS for level in levels):
        return None
    return site, np.array(levels, dtype=np.float64)
