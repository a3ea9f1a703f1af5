"""One cell, run: the federation, and what is kept of it. A cell that was cut off goes on from its journal."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from common.errors import RunError
from common.files import read_bytes, write_atomic
from experiments.simulate import simulate
from experiments.sweep.cells import Cell

MEAN = "mean of tasks"
FAILED = "failed"
_OF_TASK = ("auroc", "auprc", "brier", "accuracy", "mae")
_OF_RUN = ("site_count", "parameters", "rounds", "rounds_to_99_percent")
_BYTES = ("bytes_up_per_site_per_round", "bytes_down_per_site_per_round")
Row = dict[str, Any]


def finished(folder: Path, cell: Cell) -> list[Row] | None:
    """What is kept of a cell: rows of subject, measure and value; None where it was not finished."""
    path = _kept(folder, cell)
    return None if not path.exists() else list(json.loads(read_bytes(path))["rows"])


def work(folder: Path, cell: Cell) -> str:
    """Run a cell to its end and keep its figures; its address. Nothing is kept of one that is cut off but its journal.

    Where the federation itself cannot be run (too few sites for a plan, say) that is the cell's outcome.
    """
    place = folder / "work" / cell.address
    shutil.rmtree(place / "hospitals", ignore_errors=True)  # drawn again, they are the same
    sites = cell.hospitals.draw(cell.data, place / "hospitals", cell.seed)
    try:
        rows = list(_rows(simulate(cell.read_plan(), sites, place / "run", resume=True)))
    except RunError as error:
        rows = [{"subject": FAILED, "measure": str(error), "value": 1.0}]
    content = {"address": cell.address, "factors": cell.factors, "seed": cell.seed, "rows": rows}
    write_atomic(_kept(folder, cell), json.dumps(content, indent=1, allow_nan=False).encode())
    shutil.rmtree(place, ignore_errors=True)
    return cell.address


def _kept(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / f"{cell.address}.json"


def _rows(result: Mapping[str, Any]) -> Iterator[Row]:
    """All figures of a result that depend on the cell alone: no seconds."""
    means: dict[str, list[float]] = {}
    for task, entry in result["tasks"].items():
        for of, figures in (("", entry.get("per_site_mean", {})), ("pooled ", entry.get("pooled", entry))):
            for measure in _OF_TASK:
                if isinstance(figures.get(measure), float):
                    yield {"subject": task, "measure": of + measure, "value": figures[measure]}
                    means.setdefault(of + measure, []).append(figures[measure])
    yield from ({"subject": MEAN, "measure": each, "value": mean(values)} for each, values in means.items())
    privacy = result["privacy"]
    known = {key: result.get(key) for key in (*_OF_RUN, *_BYTES)} | {"epsilon": privacy.get("epsilon")}
    yield from ({"subject": "run", "measure": key, "value": float(v)} for key, v in known.items() if v is not None)
