"""`python -m experiments.hourly DATA [--seeds N] [--article N]` writes docs/hourly.md.

--seeds: so many fresh splits for every encoder. --article: so many of them for the article's comparison, which takes
ten times as long; 0 leaves it out. What was measured before is kept in --work and not run again.
"""

import argparse
import logging
from pathlib import Path

from common.files import write_atomic
from experiments.baselines.learners import MOST_SVM_ROWS
from experiments.commit import ROOT, claim
from experiments.hourly.document import document
from experiments.hourly.study import PLAN, article, encoders, fresh_seeds, on_public_data
from experiments.plainly import plainly


def main() -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m experiments.hourly")
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--article", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("runs/hourly"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "hourly.md")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    seeds, began = fresh_seeds()[: arguments.seeds], claim(arguments.work)
    study = on_public_data(arguments.data, arguments.work, arguments.changes)

    def tell(what: str) -> None:
        print(what, flush=True)

    main_runs = study.runs(encoders(), seeds, tell)
    compared = study.runs(article(), seeds[: arguments.article], tell) if arguments.article else None
    plan = study.plan("tcn", seeds[0])
    text = document(
        plan,
        main_runs,
        compared,
        plan_file=PLAN,
        commit=began,
        svm=MOST_SVM_ROWS,
        changes=arguments.changes,
    )
    write_atomic(arguments.out, text.encode())


if __name__ == "__main__":
    plainly(main)
