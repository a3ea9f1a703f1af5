"""Federations over fresh splits, each hospital's own report of them, and what the detector says of shifted rows."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.at_rest.files import MODEL
from client.at_rest.key import vaulted
from client.benefit.site import REPORT
from client.config import find_sites, load_site
from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan, write_atomic
from common.plan import Plan
from experiments.benefit import benefit_of_sites
from experiments.benefit_study.shifts import fired
from experiments.results.study import ROOT
from experiments.simulate import SITES, simulate

_SHIFTS = "shifts.json"


@dataclass(frozen=True)
class Outcome:
    """One site after one run. shifts: see `fired`."""

    site: str
    seed: int
    report: dict[str, Any]
    shifts: dict[str, tuple[float, float]]


def example(name: str, sites: Path, seeds: tuple[int, ...], work: Path) -> list[Outcome]:
    """The hospitals in the folder `sites` under examples/NAME.toml; seeds: of split and training."""
    path = ROOT / "examples" / f"{name}.toml"
    return [each for seed in seeds for each in _run(_plan(path, seed), sites, work / f"{name}-{seed}", seed)]


def demo(seeds: tuple[int, ...], work: Path) -> list[Outcome]:
    """Three synthetic hospitals, made anew for each seed."""
    result = []
    for seed in seeds:
        folder = work / f"demo-{seed}"
        if not (folder / "hospitals").is_dir():
            write_hospitals(folder / "hospitals", hospitals(3, seed), seed=seed)
        plan = _plan(ROOT / "experiments" / "demo.toml", seed)
        result += _run(plan, folder / "hospitals", folder / "run", seed)
    return result


def _plan(path: Path, seed: int) -> Plan:
    return read_plan(path, overrides=(f"seeds.split={seed}", f"seeds.training={seed}"))


def _run(plan: Plan, sites: Path, out: Path, seed: int) -> list[Outcome]:
    """A finished run, and reports that are there, are not made again."""
    configs = find_sites(sites)
    names = [config.name for config in configs]
    simulate(plan, configs, out, resume=(out / "plan.json").is_file())
    benefit_of_sites(out, [name for name in names if not (out / SITES / name / REPORT).is_file()])
    result = []
    for name in names:
        folder = out / SITES / name
        if not (folder / _SHIFTS).is_file():
            config = load_site(folder)
            found = fired(config, vaulted(config).read(folder / MODEL))
            write_atomic(folder / _SHIFTS, json.dumps(found).encode(), private=True)
        report = json.loads((folder / REPORT).read_text())
        result.append(Outcome(name, seed, report, json.loads((folder / _SHIFTS).read_text())))
    return result
