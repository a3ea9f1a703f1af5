"""`make privacy`: what patient-level differential privacy costs in quality; writes docs/privacy-cost.md.

`python -m experiments.privacy_cost DATA [--work FOLDER] [--only FEDERATION] [--choose]`; a finished run is not run
again. --choose: look for the best settings (examples/privacy-chosen.json) first; it takes longer than the table itself.
"""

import argparse
import tomllib
from pathlib import Path

from common.files import write_atomic
from experiments.commit import ROOT, claim
from experiments.plainly import plainly
from experiments.privacy_cost.chosen import Choice, read, write
from experiments.privacy_cost.document import head, section
from experiments.privacy_cost.work import choose, measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.privacy_cost")
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/privacy"))
    parser.add_argument("--only")
    parser.add_argument("--choose", action="store_true")
    arguments = parser.parse_args()
    content, began = tomllib.loads((ROOT / "examples" / "privacy.toml").read_text()), claim(arguments.work)
    federations = [each for each in content["federations"] if arguments.only in (None, each["name"])]
    if arguments.choose:
        settings = {each["name"]: choose(content, each, arguments.data, arguments.work)[0] for each in federations}
        choice = Choice(began, settings)
        if arguments.only is None:
            write(choice, content)
    else:
        choice = read(content)
    sections = []
    for federation in federations:
        chosen = choice.settings[federation["name"]]
        values = measured(content, federation, chosen, arguments.data, arguments.work)
        sections.append(section(federation["name"], values, chosen))
        print(sections[-1], flush=True)
    if arguments.only is None:
        told = head(content, began, choice.commit)
        write_atomic(ROOT / "docs" / "privacy-cost.md", "\n".join([told, *sections]).encode())


if __name__ == "__main__":
    plainly(main)
