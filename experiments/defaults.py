"""`make defaults`: how the defaults were chosen, on validation rows of training patients only; writes docs/defaults.md.

`python -m experiments.defaults DATA`
"""

import logging
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from client.config import SiteConfig, find_sites
from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan, write_atomic
from experiments.compare.intervals import summarise
from experiments.results.study import ROOT
from experiments.simulate import simulate

_HEAD = """# How the defaults were chosen

Written by `make defaults DATA=FOLDER` from runs of `examples/defaults.toml`; do not edit by hand. The first row is
the mean AUROC over tasks on the **validation rows** (pooled, the last point of the learning curve; no test row is
looked at) with the defaults, mean over seeds {seeds}. Every other row changes one setting: the paired difference to
them, with its 95 % bootstrap interval over seeds. The seeds, and so the splits, are those of no table in
[results.md](results.md).

The starting point was a prototype tuned on other splits of the same data. A default changes only where another setting
is better on all of these federations; a difference under .01 on one of them says nothing.
"""


@dataclass(frozen=True)
class Federation:
    """plan: file in examples. sites: folder in the data folder; "" makes synthetic hospitals of `patients` each."""

    name: str
    plan: str
    sites: str
    patients: int = 0
    set: tuple[str, ...] = ()


def validation_auroc(
    federation: Federation, configs: list[SiteConfig], seed: int, changes: list[str], out: Path
) -> float:
    """Mean over tasks, after the last round, on the validation rows of all sites together."""
    seeds = (f"seeds.split={seed}", f"seeds.training={seed}")
    plan = read_plan(ROOT / "examples" / federation.plan, overrides=(*federation.set, *seeds, *changes))
    last: dict[str, dict[str, Any]] = simulate(plan, configs, out)["history"][-1]["tasks"]
    return mean(task["auroc"] for task in last.values() if "auroc" in task)


def measured(
    federation: Federation, data: Path, seeds: list[int], settings: dict[str, list[str]]
) -> dict[str, list[float]]:
    """setting -> one value per seed."""
    result: dict[str, list[float]] = {name: [] for name in settings}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if not federation.sites:
                write_hospitals(folder / "hospitals", hospitals(3, seed, patients=federation.patients), seed)
            configs = find_sites(data / federation.sites if federation.sites else folder / "hospitals")
            for number, (name, changes) in enumerate(settings.items()):
                value = validation_auroc(federation, configs, seed, changes, folder / str(number))
                result[name].append(value)
                print(f"{federation.name}, seed {seed}, {name}: {value:.4f}", flush=True)
    return result


def table(columns: dict[str, dict[str, list[float]]]) -> str:
    """federation -> setting -> values, as Markdown; the first setting is what the others are compared with."""
    first, *others = next(iter(columns.values()))
    rows = [["setting", *columns], ["---"] * (1 + len(columns))]
    rows.append([f"**{first}**", *(f"**{mean(values[first]):.3f}**" for values in columns.values())])
    for name in others:
        cells = []
        for values in columns.values():
            found = summarise([a - b for a, b in zip(values[name], values[first], strict=True)])
            cells.append(f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]")
        rows.append([name, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main(data: Path) -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    content = tomllib.loads((ROOT / "examples" / "defaults.toml").read_text())
    federations = [Federation(**entry | {"set": tuple(entry.get("set", ()))}) for entry in content["federations"]]
    columns = {f.name: measured(f, data, content["seeds"], content["settings"]) for f in federations}
    text = _HEAD.format(seeds=", ".join(map(str, content["seeds"])))
    write_atomic(ROOT / "docs" / "defaults.md", f"{text}\n{table(columns)}".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
