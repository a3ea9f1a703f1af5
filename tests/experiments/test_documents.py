"""docs/protocol.md says what the code does: every message with its fields, every code of a refusal, every anchor."""

import ast
import dataclasses
import re
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from client.refusals import CODES
from common.secagg import messages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIRST_OF_SECURE_SUMS = 200
MESSAGES = [value for value in vars(messages).values() if dataclasses.is_dataclass(value)]
WORDS = {int: "integer", float: "number", str: "text", bytes: "bytes"}
ROW = re.compile(r"^\| (?P<name>`[^|]+?) \| (?P<second>[^|]+?) \|", flags=re.MULTILINE)


def _protocol() -> str:
    return (DOCS / "protocol.md").read_text()


def _fields(message: type) -> list[tuple[str, str]]:
    """(name, type in words) of each row of the first table below the message's heading."""
    below = _protocol().split(f"\n### {message.__name__}\n", 1)[1].split("\n### ", 1)[0]
    table = below.split("| field | type | meaning |\n|---|---|---|\n", 1)[1].split("\n\n", 1)[0]
    return [(row["name"].strip("`"), row["second"]) for row in ROW.finditer(table + "\n")]


def _in_words(kind: Any) -> str:
    if get_origin(kind) is not tuple:
        return WORDS.get(kind, "message")
    item = WORDS.get(get_args(kind)[0], "message")
    return f"list of {item}" + ("s" if item in ("integer", "message") else "")


def _checked_codes(path: Path) -> set[str]:
    """The codes of all calls of `checks.require` in a file."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    required = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "require"]
    return {ast.literal_eval(call.args[1]) for call in required}


def _documented() -> set[str]:
    """Codes in the first column of a table."""
    return {code for row in ROW.finditer(_protocol()) for code in re.findall(r"`([a-z_]+)`", row["name"])}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_message_has_its_table_with_exactly_its_fields(message: type) -> None:
    hints = get_type_hints(message)
    assert _fields(message) == [(each.name, _in_words(hints[each.name])) for each in dataclasses.fields(message)]


def test_every_code_of_secure_sums_is_explained() -> None:
    codes = {code for code, (number, _) in CODES.items() if number >= FIRST_OF_SECURE_SUMS}
    assert codes
    assert codes - _documented() == set()


@pytest.mark.parametrize("folder", ["common/secagg", "client"])
def test_every_check_is_explained(folder: str) -> None:
    codes = {code for path in sorted((ROOT / folder).rglob("*.py")) for code in _checked_codes(path)}
    assert codes
    assert codes - _documented() == set()


def test_no_code_is_explained_that_the_code_does_not_have() -> None:
    sources = [*ROOT.glob("common/secagg/**/*.py"), *ROOT.glob("client/**/*.py")]
    known = {code for path in sources for code in _checked_codes(path)} | set(CODES)
    fields = {field.name for message in MESSAGES for field in dataclasses.fields(message)}
    assert _documented() - known - fields == set()


@pytest.mark.parametrize("name", ["protocol.md", "security-model.md"])
def test_links_lead_somewhere(name: str) -> None:
    for file, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", (DOCS / name).read_text()):
        target = DOCS / (file or name)
        assert target.exists(), file
        headings = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, anchor
