"""`make defaults`: how the defaults were chosen, on validation rows of training patients only; writes docs/defaults.md.

`python -m experiments.defaults DATA [FEDERATION …]`; what was measured before is kept in runs/defaults and is not run
again. With the names of some federations only these are measured, and no document is written.
"""

import json
import logging
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from client.config import SiteConfig, find_sites
from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan, write_atomic
from common.intervals import over_splits
from common.plan.data import SplitRules
from experiments.commit import ROOT, claim
from experiments.plainly import plainly
from experiments.simulate import simulate

_HEAD = """# How the defaults were chosen

Written by `make defaults DATA=FOLDER` from runs of `examples/defaults.toml`; do not edit by hand. The first row is
the mean AUROC over tasks on the **validation rows** (pooled, the last point of the learning curve; no test row is
looked at) with the defaults, mean over seeds {seeds} (the largest federation: the first two). Every other row changes
one setting: the paired difference to them, with its 95 % interval over splits (Nadeau and Bengio 2003, with Student's
t: wide with so few seeds, for they share patients). The seeds, and so the splits,
are those of no table in [results.md](results.md).

The starting point was a prototype tuned on other splits of the same data. A default changes only where another setting
is better on all of these federations; a difference under .01 on one of them says nothing.
"""

JUDGED_PER_TRAINED = SplitRules().validation / SplitRules().train  # for common/intervals.py, on validation rows
Measured = dict[str, list[float]]  # setting -> one value per seed


@dataclass(frozen=True)
class Federation:
    """plan: file in examples. sites: folder in the data folder; "" makes synthetic hospitals of `patients` each.

    only, seeds: fewer settings and seeds where a run takes long; empty for all.
    """

    name: str
    plan: str
    sites: str
    patients: int = 0
    set: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()


def validation_auroc(
    federation: Federation, configs: list[SiteConfig], seed: int, changes: list[str], out: Path
) -> float:
    """Mean over tasks, after the last round, on the validation rows of all sites together."""
    seeds = (f"seeds.split={seed}", f"seeds.training={seed}")
    plan = read_plan(ROOT / "examples" / federation.plan, overrides=(*federation.set, *seeds, *changes))
    last: dict[str, dict[str, Any]] = simulate(plan, configs, out)["history"][-1]["tasks"]
    return mean(task["auroc"] for task in last.values() if "auroc" in task)


def runs(
    federation: Federation, data: Path, seeds: list[int], settings: dict[str, list[str]]
) -> Iterator[tuple[int, str, Callable[[], float]]]:
    """(seed, setting, a function that runs it and gives `validation_auroc`), the settings of a seed in turn."""
    chosen = {name: changes for name, changes in settings.items() if name in (federation.only or settings)}
    for seed in federation.seeds or seeds:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if not federation.sites:
                write_hospitals(folder / "hospitals", hospitals(3, seed, patients=federation.patients), seed)
            configs = find_sites(data / federation.sites if federation.sites else folder / "hospitals")
            for number, (name, changes) in enumerate(chosen.items()):
                yield seed, name, partial(validation_auroc, federation, configs, seed, changes, folder / str(number))


def measured(federation: Federation, data: Path, seeds: list[int], settings: dict[str, list[str]]) -> Measured:
    """setting -> one value per seed."""
    result: Measured = {}
    for seed, name, run in runs(federation, data, seeds, settings):
        value = run()
        result.setdefault(name, []).append(value)
        print(f"{federation.name}, seed {seed}, {name}: {value:.4f}", flush=True)
    return result


def study() -> tuple[list[Federation], dict[str, Any]]:
    """The federations of examples/defaults.toml, and the whole file."""
    content = tomllib.loads((ROOT / "examples" / "defaults.toml").read_text())
    lists = ("set", "only", "seeds")
    entries = [entry | {key: tuple(entry.get(key, ())) for key in lists} for entry in content["federations"]]
    return [Federation(**entry) for entry in entries], content


def table(columns: dict[str, Measured], settings: list[str]) -> str:
    """federation -> setting -> values, as Markdown; the first setting is what the others are compared with."""
    first, *others = settings
    rows = [["setting", *columns], ["---"] * (1 + len(columns))]
    rows.append([f"**{first}**", *(f"**{mean(values[first]):.3f}**" for values in columns.values())])
    rows += [[name, *(difference(values, name, first) for values in columns.values())] for name in others]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def difference(values: Measured, name: str, first: str) -> str:
    """How much better `name` is than `first` on the same seeds, with its interval; empty where it was not measured."""
    if name not in values:
        return ""
    found = over_splits([a - b for a, b in zip(values[name], values[first], strict=True)], JUDGED_PER_TRAINED)
    interval = f" [{found['low']:+.3f}, {found['high']:+.3f}]" if "low" in found else ""  # one seed has none
    return f"{found['mean']:+.3f}{interval}"


def main(data: Path, names: list[str]) -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    began = claim(Path("runs/defaults"))
    federations, content = study()
    columns: dict[str, Measured] = {}
    for number, federation in enumerate(federations):
        kept = Path("runs/defaults") / f"{number}.json"
        if not names or federation.name in names:
            if not kept.exists():
                found = measured(federation, data, content["seeds"], content["settings"])
                write_atomic(kept, json.dumps({"federation": federation.name, "values": found}, indent=1).encode())
            columns[federation.name] = json.loads(kept.read_text())["values"]
    if not names:
        text = _HEAD.format(seeds=", ".join(map(str, content["seeds"])), commit=began)
        document = f"{text}\n{table(columns, list(content['settings']))}"
        write_atomic(ROOT / "docs" / "defaults.md", document.encode())


if __name__ == "__main__":
    plainly(lambda: main(Path(sys.argv[1]), sys.argv[2:]))
