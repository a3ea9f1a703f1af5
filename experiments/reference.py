"""Writes the reference parts of docs/federation.md and docs/policy.md from the models, so that no key is undocumented.

`python -m experiments.reference docs/federation.md docs/policy.md`
"""

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from client.at_rest.rules import AtRestRules
from client.config import SiteConfig, SiteRules
from client.policy.rules import Budget, Limits, SecureRules
from client.site_data import SiteData
from common.files import write_atomic
from common.plan import Plan

BEGIN, END = "<!-- reference: begin (written by python -m experiments.reference) -->", "<!-- reference: end -->"
POLICY = "policy.md"
Sections = list[tuple[str, type[BaseModel]]]


def sections(document: str = "federation.md") -> Sections:
    """(heading, model) of every table that `document` explains: of policy.toml, or of federation.toml and site.toml."""
    if document == POLICY:
        tables: list[tuple[str, type[BaseModel]]] = [("secure", SecureRules), ("limits", Limits), ("budget", Budget)]
        return [(f"policy.toml `[{name}]`", model) for name, model in tables]
    listed: Sections = []
    for name, field in Plan.model_fields.items():
        inner = _model(field.annotation)
        listed.append(
            (f"federation.toml `[[{name}]]`" if name in ("features", "tasks") else f"federation.toml `[{name}]`", inner)
        )
    site: Sections = [("site", SiteRules), ("data", SiteData), ("at_rest", AtRestRules)]
    return [*listed, *((f"site.toml `[{name}]`", model) for name, model in site), ("site.toml", SiteConfig)]


def reference(document: str) -> str:
    """All tables of `document` as Markdown."""
    parts = []
    for heading, model in sections(document):
        rows = [_row(name, field) for name, field in model.model_fields.items() if field.description]
        parts.append("\n".join([f"### {heading}", "", "| key | default | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {_default(field)} | {(field.description or '').replace('|', chr(92) + '|')} |"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value: Any = field.default
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value!r}`".replace("'", '"')


def _model(annotation: Any) -> type[BaseModel]:
    while get_args(annotation):
        annotation = get_args(annotation)[0]
    assert issubclass(annotation, BaseModel)  # noqa: S101  every field of Plan is a table
    return annotation


def with_reference(path: Path) -> str:
    """The text of `path` with what stands between the two marks replaced."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference(path.name)}\n\n{END}{after}"


if __name__ == "__main__":
    for document in map(Path, sys.argv[1:]):
        write_atomic(document, with_reference(document).encode())
