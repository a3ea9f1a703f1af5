"""`make privacy`: what patient-level differential privacy costs in quality; writes docs/privacy-cost.md.

`python -m experiments.privacy_cost DATA [--work FOLDER] [--only FEDERATION]`; a finished run is not run again.
"""

import argparse
import tomllib
from pathlib import Path

from common.files import write_atomic
from experiments.commit import ROOT, commit
from experiments.privacy_cost.document import head, section
from experiments.privacy_cost.work import choose, measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.privacy_cost")
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/privacy"))
    parser.add_argument("--only")
    arguments = parser.parse_args()
    content, began = tomllib.loads((ROOT / "examples" / "privacy.toml").read_text()), commit()
    sections = []
    for federation in content["federations"]:
        if arguments.only in (None, federation["name"]):
            chosen = choose(content, federation, arguments.data, arguments.work)[0]
            values = measured(content, federation, chosen, arguments.data, arguments.work)
            sections.append(section(federation["name"], values, chosen))
            print(sections[-1], flush=True)
    if arguments.only is None:
        write_atomic(ROOT / "docs" / "privacy-cost.md", "\n".join([head(content, began), *sections]).encode())


if __name__ == "__main__":
    main()
