"""Writes the reference part of docs/federation.md from the models themselves, so that no key is undocumented.

`python -m experiments.reference docs/federation.md`
"""

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from client.config import SiteConfig, SiteData, SiteRules
from client.policy import SecureRules
from common.files import write_atomic
from common.plan import Plan

BEGIN, END = "<!-- reference: begin (written by python -m experiments.reference) -->", "<!-- reference: end -->"


def sections() -> list[tuple[str, type[BaseModel]]]:
    """(heading, model) of every table of federation.toml and site.toml."""
    listed: list[tuple[str, type[BaseModel]]] = []
    for name, field in Plan.model_fields.items():
        inner = _model(field.annotation)
        listed.append(
            (f"federation.toml `[[{name}]]`" if name in ("features", "tasks") else f"federation.toml `[{name}]`", inner)
        )
    site = [("site.toml `[site]`", SiteRules), ("site.toml `[data]`", SiteData), ("site.toml `[secure]`", SecureRules)]
    return [*listed, *site, ("site.toml", SiteConfig)]


def reference() -> str:
    """All tables as Markdown."""
    parts = []
    for heading, model in sections():
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


def with_reference(text: str) -> str:
    """`text` with what stands between the two marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


if __name__ == "__main__":
    document = Path(sys.argv[1])
    write_atomic(document, with_reference(document.read_text()).encode())
