"""The fault table as Markdown, from what the cells have written into pytest's JUnit files.

python -m tests.e2e.fault_table OUT COMMIT FILE.xml ...        of a cell in several files the last one counts
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

COLUMNS = ("cell", "test", "ended", "rounds", "seconds", "next round after", "model", "paid again", "failed", "told")
_TESTS = "test_a_fault_loses_nothing["


def read_cells(paths: list[Path]) -> dict[str, dict[str, str]]:
    """cell -> its properties, with `test`: passed, failed or skipped."""
    cells: dict[str, dict[str, str]] = {}
    for path in paths:
        for case in ElementTree.parse(path).iter("testcase"):
            name = case.get("name", "")
            if name.startswith(_TESTS):
                told = {each.get("name", ""): each.get("value", "") for each in case.iter("property")}
                wrong = {"failure": "FAILED", "error": "FAILED", "skipped": "skipped"}
                found = [wrong[child.tag] for child in case if child.tag in wrong]
                cell = name.removeprefix(_TESTS).removesuffix("]")
                cells[cell] = told | {"cell": cell, "test": found[0] if found else "passed"}
    return cells


def table(cells: dict[str, dict[str, str]], commit: str) -> str:
    """One row for each cell, in the order in which they were played."""
    rows = [[_plain(cell.get(column, "-")) for column in COLUMNS] for cell in cells.values()]
    lines = [
        f"The fault table at commit {commit}: {len(rows)} cells. Seconds are of this machine as it was loaded.",
        "",
    ]
    lines += [f"| {' | '.join(row)} |" for row in [list(COLUMNS), ["---"] * len(COLUMNS), *rows]]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Without bars, which end a cell, and without the folders of this machine."""
    return re.sub(r"(?<!\S)/\S*/", "", text).replace("|", "/")


def main(out: str, commit: str, *files: str) -> int:
    cells = read_cells([Path(name) for name in files])
    Path(out).write_text(table(cells, commit))
    print(f"{out}: {len(cells)} cells.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
