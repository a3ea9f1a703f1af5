"""`python -m experiments.benefit_study DATA [--work FOLDER] [--seeds 101,102] [--only heart|eicu|demo] [--out FILE]`.

A finished run is not run again.
"""

import argparse
import logging
from pathlib import Path

from common.files import write_atomic
from experiments.benefit_study.document import section
from experiments.benefit_study.study import demo, example
from experiments.commit import ROOT, claim
from experiments.plainly import plainly

_HEAD = """# What the hospitals' own reports say

Written by `python -m experiments.benefit_study DATA`; do not edit by hand. What each word means stands in
[benefit.md](benefit.md). Default settings, one split per seed. **helped**, **no difference**, **hurt**, **cannot be
said** count reports of one hospital and seed. AUROC and MAE are means over the reports in which all three models have
one; errors are shares of wrong most probable classes. **calibrated** counts classification tasks whose calibration
earned its use on validation rows; ECE and Brier score are means over all of them, **if perfect** is what a perfect
model's ECE would be at these numbers of rows. Calibration that was worth it on validation rows is no promise for test
rows: where **after** is larger than **before**, it did harm. **covered**: of all test patients and tasks, the goal is
90 %; **before**: by the classes that the model itself, uncalibrated, gives 90 % together (quantities left out).
**cannot say**: share of test rows; **error** of all, and **of the rest** without them. The last table of each
federation: test rows as they are, and after shifts that were made.

Runs of commit `{commit}`.
"""

_EXAMPLES = {
    "heart": ("Heart disease, four hospitals", "fed_heart"),
    "eicu": ("eICU, eighteen groups of hospitals", "eicu_demo/by_site_group"),
}


def main() -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m experiments.benefit_study")
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/benefit"))
    parser.add_argument("--seeds", default="101,102,103")
    parser.add_argument("--only", choices=("heart", "eicu", "demo"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benefit-results.md")
    arguments = parser.parse_args()
    seeds, parts = tuple(int(seed) for seed in arguments.seeds.split(",")), [_HEAD.format(commit=claim(arguments.work))]
    for name, (title, folder) in _EXAMPLES.items():
        if arguments.only in (None, name):
            parts.append(section(title, example(name, arguments.data / folder, seeds, arguments.work)))
    if arguments.only in (None, "demo"):
        parts.append(section("The demo, three synthetic hospitals", demo(seeds, arguments.work)))
    write_atomic(arguments.out, "\n".join(parts).encode())
    print(arguments.out)


if __name__ == "__main__":
    plainly(main)
