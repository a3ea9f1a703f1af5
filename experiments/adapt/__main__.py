"""`python -m experiments.adapt DATA [--hourly ENCODER] [--only a,b] [--work FOLDER]` writes docs/adapt.md.

--hourly: also the tasks of examples/eicu-hourly.toml, under this encoder. --only: not all of the tasks. What was found
before is kept in --work and not worked out again.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from client.config import SiteConfig, find_sites
from common.files import read_plan, write_atomic
from common.plan import Plan
from experiments.adapt.document import Hourly, document
from experiments.adapt.study import held_out, of_stays
from experiments.commit import claim
from experiments.hourly.study import ENCODERS, on_public_data
from experiments.plainly import plainly
from experiments.results.study import ROOT

_PLAN, _SITES, _SEED = "eicu.toml", "eicu_demo/by_site_group", 300


def main() -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(prog="python -m experiments.adapt")
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/adapt"))
    parser.add_argument("--only")
    parser.add_argument("--hourly", metavar="ENCODER", choices=ENCODERS, help=", ".join(ENCODERS))
    arguments = parser.parse_args()
    began, only = claim(arguments.work), arguments.only.split(",") if arguments.only else None
    seeds = (f"seeds.split={_SEED}", f"seeds.training={_SEED}")
    plan = read_plan(ROOT / "examples" / _PLAN, overrides=seeds)
    found = _each(plan, find_sites(arguments.data / _SITES), arguments.work, only)
    hourly = None
    if arguments.hourly:
        work = arguments.work / "hourly" / arguments.hourly
        study = on_public_data(arguments.data, work)
        timed = study.plan(arguments.hourly, _SEED)
        hourly = Hourly(timed, study.plan_file.name, _each(timed, study.sites, work, only))
    text = document(
        found,
        title=plan.federation.title,
        plan=_PLAN,
        tasks=len(plan.tasks),
        seed=_SEED,
        commit=began,
        hourly=hourly,
    )
    write_atomic(ROOT / "docs" / "adapt.md", text.encode())


def _each(plan: Plan, sites: Sequence[SiteConfig], work: Path, only: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Task of the stay -> what `held_out` gives."""
    found = {}
    for name in of_stays(plan):
        if only is None or name in only:
            found[name] = held_out(plan, name, sites, work)
            print(f"{plan.federation.name}, {name}: done", flush=True)
    return found


if __name__ == "__main__":
    plainly(main)
