"""`python -m experiments.results DATA [--work FOLDER] [--only PLAN]`; without --only it writes docs/results.md."""

import argparse
import logging
from pathlib import Path

from common.files import write_atomic
from experiments.commit import claim
from experiments.plainly import plainly
from experiments.results.document import section
from experiments.results.held_out import held_out
from experiments.results.study import ROOT, baselines, examples, federations, gathered

_HEAD = """# Results on public data

Written by `make results DATA=FOLDER` (see [data.md](data.md) for the folder) from runs of the examples with their
defaults; do not edit by hand. One split per seed for all tasks. **Per-site mean**: the mean over sites with both
classes among the labelled test rows, and with as many test and training rows as `[evaluation]` in the plan asks for.
No noise. What each baseline is stands in [baselines.md](baselines.md).

Differences below .01 say nothing: the split alone moves a mean by .01 to .03. In brackets 95 % intervals over splits:
these share patients, so that they are about three times as wide as if each split were of patients of its own
([baselines.md](baselines.md)). No default was chosen on a test row of any split below; but the patients are the same
few hundred, those who are tested here were validation patients elsewhere, and the results of former versions on these
splits were seen. Hospitals that did not take part are the freshest evidence.

Runs of commit `{commit}`.
"""


def main() -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m experiments.results")
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/results"))
    parser.add_argument("--only")
    arguments = parser.parse_args()
    data, work = arguments.data, arguments.work
    began = claim(work)
    chosen = [example for example in examples() if arguments.only in (None, example.plan)]
    for example in chosen:
        federations(example, data, (*example.seeds, *example.fresh_seeds), work)
        baselines(example, data, example.seeds, work)
        baselines(example, data, example.fresh_seeds, work, example.fresh_baselines)
        held_out(example, data, example.seeds, work)
    if arguments.only is None:
        parts = [_HEAD.format(commit=began)]
        for example in chosen:
            fresh = gathered(example, example.fresh_seeds, work) if example.fresh_seeds else None
            apart = held_out(example, data, example.seeds, work)
            parts.append(section(example, gathered(example, example.seeds, work), fresh, apart))
        write_atomic(ROOT / "docs" / "results.md", "\n".join(parts).encode())


if __name__ == "__main__":
    plainly(main)
