"""Hospitals of one federation as they compare themselves, clean or with one fault: the sites' own code on their rows.

What the coordinator adds is added here; sums are exact either way (tests/server/test_unlike.py), so none is masked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from client.comparison import findings, own_part
from client.config import SiteConfig, find_sites
from client.data.table import load_table
from client.site_rows import TRAIN, SiteRows
from common.associations import Associations
from common.files import read_plan
from common.model import Layout
from common.plan import Plan
from common.plan.survey import LEAST_SITES
from common.survey import Survey
from common.unlike import Finding
from experiments.wrong_site.faults import Fault, possible
from server.phases.comparison import of_three


@dataclass(frozen=True)
class Tried:
    """One fault: found at its site by its column's name, or another finding there, or one at another site."""

    fault: Fault
    site: str
    named: bool
    flagged: bool
    others: tuple[str, ...]


@dataclass
class Hospitals:
    """One federation on the split of one seed. plan_file: its federation.toml. folder: with the hospitals' tables."""

    plan_file: Path
    folder: Path
    seed: int

    @cached_property
    def plan(self) -> Plan:
        return read_plan(self.plan_file, overrides=(f"seeds.split={self.seed}", f"seeds.training={self.seed}"))

    @cached_property
    def clean(self) -> dict[str, SiteRows]:
        return {config.name: _site(config, self.plan) for config in find_sites(self.folder)}

    @cached_property
    def flags(self) -> dict[str, tuple[Finding, ...]]:
        """site -> what it finds without any fault."""
        return self.compare(self.clean)

    @cached_property
    def compared(self) -> frozenset[str]:
        """Features and tasks that three hospitals hold: others are not compared."""
        names = self.clean.values()
        held = {name: sum(site.levels[name] > 0 for site in names) for name in Layout(self.plan).block_names}
        return frozenset(name.partition(":")[2] for name, count in held.items() if count >= LEAST_SITES)

    def compare(self, sites: dict[str, SiteRows], asked: Iterable[str] | None = None) -> dict[str, tuple[Finding, ...]]:
        """site -> what it finds, after the three sums of the survey. asked: the sites that compare themselves; all."""
        survey, layout = Survey(self.plan), Associations(self.plan)
        edges = survey.first_edges()
        edges = survey.second_edges(np.sum([_surveyed(survey, site, edges) for site in sites.values()], axis=0))
        coarse = layout.edges_of(edges).ravel()
        total = np.sum([own_part(site, coarse) for site in sites.values()], axis=0)
        held = of_three(self.plan, [np.array(list(site.levels.values())) for site in sites.values()])
        vector = np.concatenate([coarse, np.where(held, total, 0.0)]).astype(np.float32)
        return {name: findings(sites[name], vector) for name in (asked or sites)}

    def attempt(self, kind: str, work: Path, random: np.random.Generator, *, innocent: int) -> Tried | None:
        """One fault of this kind, at one site, drawn at random. None where no site can have such a fault.

        work: a folder for the faulty table. innocent: so many of the other sites compare themselves as well.
        """
        for name in random.permutation(sorted(self.clean)).tolist():
            frame = self.frame(name)
            faults = [fault for fault in possible(kind, self.plan, frame) if fault.name in self.compared]
            if faults:
                break
        else:
            return None
        fault = faults[int(random.integers(len(faults)))]
        faulty = self.with_table(name, fault.of(frame, random), work)
        rest = random.permutation(sorted(set(faulty) - {name})).tolist()[:innocent]
        new = self.new(self.compare(faulty, [name, *rest]))
        others = tuple(site for site in rest if new[site])
        return Tried(fault, name, fault.name in new[name], bool(new[name]), others)

    def frame(self, name: str) -> pd.DataFrame:
        """A hospital's table as it is written."""
        files = self.clean[name].config.files
        return pd.concat([pd.read_csv(file, dtype=str) for file in files], ignore_index=True)

    def with_table(self, name: str, table: pd.DataFrame, work: Path) -> dict[str, SiteRows]:
        """All hospitals, one of them with another table, which is written into `work`."""
        file, config = work / f"{name}.csv", self.clean[name].config
        table.to_csv(file, index=False)
        data = config.data.model_copy(update={"files": (str(file.absolute()),)})
        return self.clean | {name: _site(config.model_copy(update={"data": data}), self.plan)}

    def new(self, found: dict[str, tuple[Finding, ...]]) -> dict[str, set[str]]:
        """site -> names of the columns that it finds, beyond those that it finds without a fault."""
        return {site: {f.column for f in each} - {f.column for f in self.flags[site]} for site, each in found.items()}


def _site(config: SiteConfig, plan: Plan) -> SiteRows:
    site = SiteRows(config, plan)
    site.table = load_table(config, plan)
    return site


def _surveyed(survey: Survey, site: SiteRows, edges: Any) -> Any:
    rows = site.rows(TRAIN)
    return survey.of(site.table.features[rows], site.table.labels[rows], edges)
