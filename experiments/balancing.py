"""`make balancing`: what each way of balancing tasks costs and brings, on validation rows only; docs/balancing.md.

`python -m experiments.balancing DATA [FEDERATION …]`; what was measured before is kept in runs/balancing and is not run
again. With the names of some federations only these are measured, and no document is written.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any, get_args
from unittest.mock import patch

from client.training.trainer import Float32, Trainer
from common.balancing import combination
from common.files import write_atomic
from common.intervals import over_splits, summarise
from common.plan.rules import Balancing
from experiments.commit import ROOT, claim
from experiments.defaults import JUDGED_PER_TRAINED, Federation, Measured, difference, plan_of, runs, study
from experiments.plainly import plainly

PLAIN, *OTHERS = get_args(Balancing)

_HEAD = """# Which way of balancing tasks

Written by `make balancing DATA=FOLDER`; do not edit by hand. `training.balancing` says how tasks share the encoder:

- **plain**: the sum of their losses, each over its labelled rows.
- **uncertainty** (Kendall et al. 2018): a task counts by 1 / (2 x its loss at the site, under the model received).
- **upgrad**, **mgda**, **pcgrad**: the tasks' gradients at the encoder's output are combined by that method of
  [torchjd](https://torchjd.org); the encoder has one backward pass, and each head learns its own task alone.

Quality: the mean over tasks of the per-site mean AUROC on **validation rows**, mean over seeds {seeds}, as in
[defaults.md](defaults.md); of the others the paired difference to plain with its 95 % interval over splits. Cost:
processor seconds that the sites of a run together spend on local training, one thread; of the others the ratio to plain
on the same seed, with its interval. The runs of a seed come one after the other, with plain sums (`secure = false`):
what is summed is the same. Where tasks exclude different inputs, one row is seen in several ways: methods that compare
gradients compare them as if at one output.

The default is another one than plain only if it is better on every federation here, with an interval above 0.

Runs of commit `{commit}`.
"""


def verdict(quality: list[Measured]) -> str:
    """Which default the measurements give, as a sentence. quality: of each federation method -> AUROC per seed."""
    better = [name for name in OTHERS if all(_lowest(values, name) > 0.0 for values in quality)]
    if not better:
        return "None of them is: **plain** stays the default."
    best = max(better, key=lambda name: mean(mean(values[name]) - mean(values[PLAIN]) for values in quality))
    return f"Better on every federation: {', '.join(better)}. By this rule **{best}** is the default."


def _lowest(values: Measured, name: str) -> float:
    found = over_splits([a - b for a, b in zip(values[name], values[PLAIN], strict=True)], JUDGED_PER_TRAINED)
    return float(found.get("low", 0.0))  # one seed shows nothing


def table(quality: dict[str, Measured], seconds: dict[str, Measured]) -> str:
    """federation -> method -> values, as Markdown."""
    columns = [heading for name in quality for heading in (f"{name}: AUROC", "cost")]
    rows = [["balancing", *columns], ["---"] * (1 + len(columns))]
    first = [f"**{mean(quality[name][PLAIN]):.3f}** | **{mean(seconds[name][PLAIN]):.1f} s**" for name in quality]
    rows.append([f"**{PLAIN}**", *first])
    for method in OTHERS:
        cells = [f"{difference(quality[f], method, PLAIN)} | {_ratio(seconds[f], method)}" for f in quality]
        rows.append([method, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _ratio(seconds: Measured, method: str) -> str:
    found = summarise([a / b for a, b in zip(seconds[method], seconds[PLAIN], strict=True)])
    interval = f" [{found['low']:.2f}, {found['high']:.2f}]" if "low" in found else ""
    return f"{found['mean']:.2f}{interval}"


@contextmanager
def clock() -> Iterator[list[float]]:
    """A list with the processor seconds of each call of the trainer while this is open."""
    spent: list[float] = []
    train = Trainer.train

    def timed(*arguments: Any, **named: Any) -> Float32:
        began = process_time()
        trained = train(*arguments, **named)
        spent.append(process_time() - began)
        return trained

    with patch.object(Trainer, "train", timed):
        yield spent


def measured(federation: Federation, data: Path, seeds: list[int], kept: Path) -> tuple[Measured, Measured]:
    """method -> AUROC, and processor seconds of training, of each seed.

    kept: file of what was measured; every run is added to it, and none that it holds is run again.
    """
    known: dict[str, list[float]] = json.loads(kept.read_text()) if kept.exists() else {}
    quality: Measured = {}
    seconds: Measured = {}
    settings = {name: [f"training.balancing={name}", "aggregation.secure=false"] for name in (PLAIN, *OTHERS)}
    for seed, name, run in runs(federation, data, seeds, settings):
        key = f"{seed} {name}"
        if key not in known:
            with clock() as spent:
                known[key] = [run(), sum(spent)]
            write_atomic(kept, json.dumps(known, indent=1).encode())
            print(f"{federation.name}, seed {seed}, {name}: {known[key][0]:.4f}, {known[key][1]:.1f} s", flush=True)
        quality.setdefault(name, []).append(known[key][0])
        seconds.setdefault(name, []).append(known[key][1])
    return quality, seconds


def main(data: Path, names: list[str]) -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    combination("upgrad", 0)  # says at once what is not installed, and what is loaded costs no run
    began = claim(Path("runs/balancing"))
    federations, content = study()
    quality, seconds = {}, {}
    for federation in federations:
        several = len(plan_of(federation, 0).tasks) > 1
        if federation.sites and not federation.hours and several and (not names or federation.name in names):
            kept = Path("runs/balancing") / f"{federation.plan.removesuffix('.toml')}.json"
            found = measured(federation, data, content["seeds"], kept)
            quality[federation.name], seconds[federation.name] = found
    if names:
        print(table(quality, seconds))
        return
    text = _HEAD.format(seeds=", ".join(map(str, content["seeds"])), commit=began)
    document = f"{text}\n{table(quality, seconds)}\n{verdict(list(quality.values()))}\n"
    write_atomic(ROOT / "docs" / "balancing.md", document.encode())


if __name__ == "__main__":
    plainly(lambda: main(Path(sys.argv[1]), sys.argv[2:]))
