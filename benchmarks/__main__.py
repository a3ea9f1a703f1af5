"""`make bench`: runs every benchmark, prints its ratios, writes runs/bench/NAME.json and docs/performance.md.

`python -m benchmarks [NAME …]` runs some of them and leaves the document alone.
"""

import json
import platform
import sys
from pathlib import Path

import torch

from benchmarks import deployment, dp, rounds, secagg, secagg_rounds, training, training_encoders, training_heads
from benchmarks.measure import Ratio
from common.errors import ConsiliumError
from common.files import write_atomic

BENCHMARKS = {
    "training": training,
    "training_encoders": training_encoders,
    "training_heads": training_heads,
    "rounds": rounds,
    "secagg": secagg,
    "secagg_rounds": secagg_rounds,
    "dp": dp,
    "deployment": deployment,
}
_DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
_HEAD = """# Performance

Written by `make bench`; do not edit by hand. Each line is the ratio of two things that were timed in one run, one after
the other in turn: the median over pairs, and the lowest and highest pair. One core, {machine}, torch {torch}. Machines
differ and are busy at times; ratios move less than seconds.
"""


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    results = {name: _run(name) for name in names or BENCHMARKS}
    if not names:
        parts = [_HEAD.format(machine=platform.machine(), torch=torch.__version__)]
        parts += [_section(name, ratios) for name, ratios in results.items()]
        write_atomic(_DOCUMENT, "\n".join(parts).encode())


def _run(name: str) -> list[Ratio]:
    print(f"\n{name}")
    ratios = []
    for ratio in BENCHMARKS[name].run():
        print(f"  {ratio.line()}", flush=True)
        ratios.append(ratio)
    content = json.dumps([ratio.to_json() for ratio in ratios], indent=1)
    write_atomic(Path("runs/bench") / f"{name}.json", content.encode())
    return ratios


def _section(name: str, ratios: list[Ratio]) -> str:
    words = (BENCHMARKS[name].__doc__ or "").strip()
    rows = [
        f"| {r.name}{'<br>' + r.note if r.note else ''} | **{r.ratio:.2f}** | {r.lowest:.2f} to {r.highest:.2f} | "
        f"{1e3 * r.ours_s:.2f} | {1e3 * r.reference_s:.2f} |"
        for r in ratios
    ]
    table = "\n".join(
        ["| ours / reference | median | spread | ours, ms | reference, ms |", "|---|---|---|---|---|", *rows]
    )
    return f"## {name}\n\n{words}\n\n{table}\n"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConsiliumError as error:
        sys.exit(str(error))
