"""`python -m experiments.adapt DATA [--work FOLDER] [--only a,b]` writes docs/adapt.md, of all tasks or of some."""

import argparse
import logging
from pathlib import Path

import torch

from client.config import find_sites
from common.files import read_plan, write_atomic
from experiments.adapt.document import document
from experiments.adapt.study import held_out
from experiments.commit import claim
from experiments.results.study import ROOT

_PLAN, _SITES, _SEED = "eicu.toml", "eicu_demo/by_site_group", 300


def main() -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(prog="python -m experiments.adapt")
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/adapt"))
    parser.add_argument("--only")
    arguments = parser.parse_args()
    began = claim(arguments.work)
    seeds = (f"seeds.split={_SEED}", f"seeds.training={_SEED}")
    plan = read_plan(ROOT / "examples" / _PLAN, overrides=seeds)
    sites = find_sites(arguments.data / _SITES)
    found = {}
    for task in plan.tasks:
        if not arguments.only or task.name in arguments.only.split(","):
            found[task.name] = held_out(plan, task.name, sites, arguments.work)
            print(f"{task.name}: done", flush=True)
    text = document(
        found,
        title=plan.federation.title,
        plan=_PLAN,
        tasks=len(plan.tasks),
        seed=_SEED,
        commit=began,
    )
    write_atomic(ROOT / "docs" / "adapt.md", text.encode())


main()
