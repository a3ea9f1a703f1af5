"""`make bench`: runs every benchmark, prints its ratios and writes runs/bench/NAME.json."""

import json
from pathlib import Path

import torch

from benchmarks import rounds, training
from common.files import write_atomic

BENCHMARKS = {"training": training.run, "rounds": rounds.run}


def main() -> None:
    torch.set_num_threads(1)
    for name, run in BENCHMARKS.items():
        print(f"\n{name}")
        ratios = []
        for ratio in run():
            print(f"  {ratio.line()}", flush=True)
            ratios.append(ratio.to_json())
        write_atomic(Path("runs/bench") / f"{name}.json", json.dumps(ratios, indent=1).encode())


main()
