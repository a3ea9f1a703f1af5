"""docs/operations.md quotes what the programs say: every message and code in its tables is one of the source's."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.refusals import CODES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()
LEAST = 5
"""Characters of a piece between two values that is worth looking for."""


def _first_cells(heading: str) -> list[str]:
    """The first column of the table whose first heading this is, its quotations only."""
    table = TEXT.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    rows = [line for line in table.splitlines()[2:] if line.startswith("| ")]
    return [quoted for row in rows for quoted in re.findall(r"`([^`]+)`", row.split(" | ", 1)[0])]


def _literals() -> Iterator[str]:
    """Every text in the source, with a mark where a value is put in."""
    for package in ("client", "server", "common"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                    yield "".join(map(str, parts))


SAID = "\n".join(_literals())
MESSAGES = [
    *_first_cells("`site status` or `check` says"),
    *_first_cells("the journal says"),
    *_first_cells("`server serve`, `status` or `run` says"),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_quoted_message_is_what_a_program_says(message: str) -> None:
    pieces = [piece.strip(" ().'`") for piece in re.split(r"…|\bnorth\b", message)]
    looked_for = [piece for piece in pieces if len(piece) >= LEAST]
    assert looked_for, message
    assert [piece for piece in looked_for if piece not in SAID] == []


def test_every_code_that_a_hospital_sends_is_in_the_table_once_and_no_other() -> None:
    assert sorted(_first_cells("code")) == sorted(CODES)


def test_every_code_of_the_coordinators_is_one_that_it_says() -> None:
    codes = _first_cells("the coordinator's code")
    assert {"name_twice", "no_answer_in_time"} <= set(codes) and set(codes) - {"node …"} <= set(SAID.splitlines())
