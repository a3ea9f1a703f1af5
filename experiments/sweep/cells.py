"""One federation under one setting and seed, named by everything that its figures follow from."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import client
import common
import experiments
import server
from client.approval.code_hash import dependencies, hash_of
from common.errors import PlanError
from common.plan import Plan, plan_from_canonical
from common.plan.load import first_problem
from experiments.sweep.experiment import Experiment, Value, plan_of, read_experiment
from experiments.sweep.hospitals import Hospitals


@dataclass(frozen=True)
class Cell:
    """factors: what is varied, and its value here. data: folder in which the hospitals' tables are looked for.

    address: SHA-256, hexadecimal, of plan, hospitals, code and the versions of what it is built on: the same address
    has the same figures.
    """

    factors: dict[str, Value]
    seed: int
    plan: bytes
    hospitals: Hospitals
    data: Path
    address: str

    def read_plan(self) -> Plan:
        return plan_from_canonical(self.plan, source=f"cell {self.address[:12]}")

    @property
    def words(self) -> str:
        """What a sentence calls it."""
        return ", ".join(f"{name} {value}" for name, value in (self.factors | {"seed": self.seed}).items())


def cells_of(path: Path, data: Path) -> tuple[Experiment, list[Cell]]:
    """The experiment of a file, and all its cells in order. data: folder in which tables are looked for.

    Raises PlanError, which names the cell, where a setting is not allowed or no hospital is found.
    """
    experiment = read_experiment(path)
    digests: dict[str, str] = {}
    cells = []
    for factors, settings in experiment.combinations:
        for seed in experiment.seeds:
            try:
                hospitals, plan = experiment.hospitals(settings), plan_of(experiment, path, settings, seed)
                rules = hospitals.model_dump_json()
                if rules not in digests:
                    digests[rules] = hospitals.digest(data)
            except (PlanError, ValidationError) as error:
                words = ", ".join(f"{name} {value}" for name, value in factors.items()) or "as it is"
                problem = error if isinstance(error, PlanError) else first_problem(error, settings)
                raise PlanError(f"{path}: {words}: {problem}") from None
            known = {"plan": plan.hash, "hospitals": digests[rules], "code": _code()}
            address = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
            cells.append(Cell(factors, seed, plan.canonical, hospitals, data.absolute(), address))
    return experiment, cells


def provenance(cells: list[Cell]) -> dict[str, Any]:
    """What figures follow from, for whoever reads a table later: code, versions, plans; no time and no place."""
    return {
        "schema": "consilium/experiment/1",
        "code_sha256": _code()["sha256"],
        "dependencies": dict(dependencies()),
        "plans": {cell.address: cell.read_plan().hash for cell in cells},
    }


@lru_cache(maxsize=1)
def _code() -> dict[str, str]:
    """SHA-256 of all four packages, and of the versions of what they are built on."""
    folders = [Path(package.__path__[0]) for package in (client, common, experiments, server)]
    versions = hashlib.sha256(json.dumps(dependencies()).encode()).hexdigest()
    return {"sha256": hash_of(folders), "dependencies": versions}
