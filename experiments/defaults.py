"""`make defaults`: how the defaults were chosen, on validation rows of training patients only; writes docs/defaults.md.

`python -m experiments.defaults DATA [FEDERATION …]`; what was measured before is kept in runs/defaults and is not run
again. With the names of some federations only these are measured, and no document is written.
"""

import json
import logging
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from client.config import SiteConfig, find_sites, with_hours
from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan, write_atomic
from common.intervals import over_splits
from common.plan import Plan
from common.plan.data import SplitRules
from experiments.commit import ROOT, claim
from experiments.judge import validation_auroc
from experiments.plainly import plainly
from experiments.simulate import simulate
from server.result import MODEL

_HEAD = """# How the defaults were chosen

Written by `make defaults DATA=FOLDER` from runs of `examples/defaults.toml`; do not edit by hand. The first row is
the mean over tasks of the per-site mean AUROC on **validation rows** of training patients (no test row is looked at)
with the defaults, mean over seeds ({seeds}). Every other row changes one setting: the paired difference to them, with
its 95 % interval over splits (Nadeau and Bengio 2003, with Student's t: wide with so few seeds, for they share
patients). The seeds, and so the splits, are those of no table in [results.md](results.md); the patients are the same.

The starting point was a prototype tuned on other splits of the same data. A default changes where another setting is
better on the mean over these federations, and on none of them worse by more than .005; a difference under .01 on one
federation says nothing by itself. Of the fewest steps in a round (`training.min_local_steps`) this was not how it went:
a poor accuracy on the **test** rows of Fed-Heart-Disease, which has the smallest hospitals, was the reason to look for
it, five folds of its training patients and the eICU hospitals' validation rows were the reason to take it. The column
of its training patients repeats that with other splits; its published test rows are no fresh evidence for it.

Runs of commit `{commit}`.
"""

_SEQUENCES = """
## Models with hours

The hourly plan of eICU (`examples/eicu-hourly.toml`), on the same seeds and by the same rule.
"""

JUDGED_PER_TRAINED = SplitRules().validation / SplitRules().train  # for common/intervals.py, on validation rows
Measured = dict[str, list[float]]  # setting -> one value per seed


@dataclass(frozen=True)
class Federation:
    """plan: file in examples. sites: folder in the data folder; "" makes synthetic hospitals of `patients` each.

    hours: table in the data folder with one row for each stay and hour, of a plan that has some.
    only, seeds: fewer settings, other seeds; empty for all.
    """

    name: str
    plan: str
    sites: str
    patients: int = 0
    hours: str = ""
    set: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()


def plan_of(federation: Federation, seed: int, changes: Sequence[str] = ()) -> Plan:
    """The federation's plan with both seeds and further `key=value` settings."""
    seeds = (f"seeds.split={seed}", f"seeds.training={seed}")
    return read_plan(ROOT / "examples" / federation.plan, overrides=(*federation.set, *seeds, *changes))


def judged_per_trained(federation: Federation) -> float:
    """Validation rows per training row, for common/intervals.py."""
    split = plan_of(federation, 0).split
    return split.validation / split.train


def measure(federation: Federation, configs: list[SiteConfig], seed: int, changes: list[str], out: Path) -> float:
    """Mean over tasks of the per-site mean AUROC of the final model, on validation rows."""
    plan = plan_of(federation, seed, changes)
    simulate(plan, configs, out)
    return validation_auroc(out / MODEL, plan, configs)


def runs(
    federation: Federation, data: Path, seeds: list[int], settings: dict[str, list[str]]
) -> Iterator[tuple[int, str, Callable[[], float]]]:
    """(seed, setting, a function that runs it and gives `measure`), the settings of a seed in turn."""
    chosen = {name: changes for name, changes in settings.items() if name in (federation.only or settings)}
    for seed in federation.seeds or seeds:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if not federation.sites:
                write_hospitals(folder / "hospitals", hospitals(3, seed, patients=federation.patients), seed)
            configs = find_sites(data / federation.sites if federation.sites else folder / "hospitals")
            if federation.hours:
                configs = with_hours(configs, [data / federation.hours])
            for number, (name, changes) in enumerate(chosen.items()):
                yield seed, name, partial(measure, federation, configs, seed, changes, folder / str(number))


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


def table(columns: dict[str, Measured], settings: list[str], ratios: Mapping[str, float]) -> str:
    """federation -> setting -> values, as Markdown; the first setting is what the others are compared with.

    ratios: federation -> validation rows per training row.
    """
    first, *others = settings
    rows = [["setting", *columns], ["---"] * (1 + len(columns))]
    rows.append([f"**{first}**", *(f"**{mean(values[first]):.3f}**" for values in columns.values())])
    for name in others:
        rows.append([name, *(difference(values, name, first, ratios[f]) for f, values in columns.items())])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def difference(values: Measured, name: str, first: str, ratio: float = JUDGED_PER_TRAINED) -> str:
    """How much better `name` is than `first` on the same seeds, with its interval; empty where it was not measured."""
    if name not in values:
        return ""
    found = over_splits([a - b for a, b in zip(values[name], values[first], strict=True)], ratio)
    interval = f" [{found['low']:+.3f}, {found['high']:+.3f}]" if "low" in found else ""  # one seed has none
    return f"{found['mean']:+.3f}{interval}"


def _kept(federation: Federation, number: int, data: Path, content: dict[str, Any]) -> Measured:
    """What was measured of the federation, which is not measured again."""
    kept = Path("runs/defaults") / f"{number}.json"
    if not kept.exists():
        settings = content["sequence_settings" if federation.hours else "settings"]
        found = measured(federation, data, content["seeds"], settings)
        write_atomic(kept, json.dumps({"federation": federation.name, "values": found}, indent=1).encode())
    return dict(json.loads(kept.read_text())["values"])


def main(data: Path, names: list[str]) -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    began = claim(Path("runs/defaults"))
    federations, content = study()
    chosen = [(number, each) for number, each in enumerate(federations) if not names or each.name in names]
    columns = {each.name: _kept(each, number, data, content) for number, each in chosen}
    ratios = {each.name: judged_per_trained(each) for each in federations}
    if not names:
        seeds = ", ".join(map(str, content["seeds"]))
        further = [f"{each.name}: {', '.join(map(str, each.seeds))}" for each in federations if each.seeds]
        parts = [_HEAD.format(seeds="; ".join([seeds, *further]), commit=began)]
        for key, hours in (("settings", False), ("sequence_settings", True)):
            own = {each.name: columns[each.name] for each in federations if bool(each.hours) == hours}
            parts += [_SEQUENCES] * hours + [table(own, list(content[key]), ratios)]
        write_atomic(ROOT / "docs" / "defaults.md", "\n".join(parts).encode())


if __name__ == "__main__":
    plainly(lambda: main(Path(sys.argv[1]), sys.argv[2:]))
