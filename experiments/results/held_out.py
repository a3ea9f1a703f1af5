"""A hospital that did not take part: the model of all others, judged on its rows; what a newcomer may expect."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from client.config import SiteConfig, find_sites
from client.data.site_table import SiteTable
from client.site_rows import TEST
from common.files import read_bytes, write_atomic
from experiments.baselines.tables import load_tables
from experiments.judge import judged
from experiments.results.study import Example, plan_of
from experiments.simulate import simulate
from server.result import MODEL

JUDGED = "held_out.json"


def held_out(example: Example, data: Path, seeds: Iterable[int], work: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Hospital -> seed -> task -> metrics on that hospital's test rows, of a model trained without the hospital.

    The hospitals are the `example.held_out` largest by rows. A patient of theirs who was in another hospital too is
    left out there, so that no row of a judged patient was trained on. What was run is not run again.
    """
    configs = find_sites(data / example.sites)
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for seed in seeds:
        plan = plan_of(example, seed)
        tables = {table.site: table for table in load_tables(plan, configs)}
        largest = sorted(tables.values(), key=lambda table: (-len(table.split), table.site))[: example.held_out]
        for table in largest:
            out = work / example.plan / "held_out" / table.site / str(seed)
            if not (out / JUDGED).exists():
                others = [
                    _without(config, table, tables[config.name]) for config in configs if config.name != table.site
                ]
                simulate(plan, others, out, resume=True)
                write_atomic(out / JUDGED, json.dumps(judged(out / MODEL, plan, table, TEST), indent=1).encode())
            found.setdefault(table.site, {})[seed] = json.loads(read_bytes(out / JUDGED))
    return found


def _without(config: SiteConfig, held: SiteTable, own: SiteTable) -> SiteConfig:
    """The hospital without the patients that it shares with the one that is held out."""
    shared: Sequence[str] = sorted(set(own.patients) & set(held.patients))
    if not shared:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"exclude_patients": tuple(shared)})})
