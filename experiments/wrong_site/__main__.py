"""What a federation notices of a hospital whose data are wrong; writes docs/wrong-site.md.

`python -m experiments.wrong_site DATA [--faults N] [--seeds N]`: N faults of each kind in each federation, and as many
splits of clean hospitals, from seed 600 on.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from client.data.synthetic import hospitals, write_hospitals
from common.files import write_atomic
from experiments.commit import ROOT, commit
from experiments.plainly import plainly
from experiments.wrong_site.document import Federation, document
from experiments.wrong_site.fahrenheit import fahrenheit
from experiments.wrong_site.faults import KINDS
from experiments.wrong_site.flipped import flipped
from experiments.wrong_site.study import Hospitals

FIRST, SPLITS = 600, 10  # splits over which the faults of a federation are divided
INNOCENT = 3
FAHRENHEIT_SPLITS = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.wrong_site")
    parser.add_argument("data", type=Path)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    data, began = arguments.data, commit()
    with TemporaryDirectory() as folder:
        demo = Path(folder, "demo")
        write_hospitals(demo, hospitals(3, FIRST), seed=FIRST)
        places = {
            "heart": (ROOT / "examples" / "heart.toml", data / "fed_heart"),
            "eICU": (ROOT / "examples" / "eicu.toml", data / "eicu_demo" / "by_site_group"),
            "demo": (ROOT / "experiments" / "demo.toml", demo),
        }
        told = [
            _federation(name, *place, Path(folder), arguments.faults, arguments.seeds) for name, place in places.items()
        ]
        cleveland = flipped(*places["heart"], Path(folder), range(FIRST, FIRST + arguments.seeds))
        warm = fahrenheit(*places["eICU"], Path(folder), range(FIRST, FIRST + FAHRENHEIT_SPLITS))
    write_atomic(ROOT / "docs" / "wrong-site.md", document(told, cleveland, warm, began, first=FIRST).encode())


def _federation(name: str, plan: Path, folder: Path, work: Path, faults: int, seeds: int) -> Federation:
    clean = [Hospitals(plan, folder, FIRST + number) for number in range(seeds)]
    flags = [(site, finding) for each in clean for site, found in each.flags.items() for finding in found]
    print(f"{name}: {seeds} clean splits, {len(flags)} findings", flush=True)
    tried = {}
    for kind in KINDS:
        began = time.monotonic()
        random = np.random.default_rng([FIRST, KINDS.index(kind)])
        each = [
            clean[number * SPLITS // faults].attempt(kind, work, random, innocent=INNOCENT) for number in range(faults)
        ]
        tried[kind] = [one for one in each if one is not None]
        caught = sum(one.named for one in tried[kind])
        print(f"{name}, {kind}: {caught} of {len(tried[kind])}, {time.monotonic() - began:.0f} s", flush=True)
    return Federation(name, len(clean[0].clean), seeds, flags, tried)


if __name__ == "__main__":
    plainly(main)
