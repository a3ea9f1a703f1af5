"""federation.toml -> Plan, with every error as one sentence that names the key and what is allowed."""

import json
import tomllib
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from common.errors import PlanError
from common.plan.later import with_unused
from common.plan.plan import Plan

_WORDS = {"tuple_type": "has to be a list in [ ]", "model_type": "has to be a table with keys of its own"}


def load_plan(text: str, *, source: str, overrides: tuple[str, ...] = ()) -> Plan:
    """Parse and validate the text of a federation.toml.

    source: the file's name, for messages. overrides: `section.key=value` settings as on the command line.
    Raises PlanError.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{source}: not valid TOML: {error}.") from None
    return plan_from_dict(apply_overrides(content, overrides), source=source)


def plan_from_dict(content: dict[str, Any], *, source: str) -> Plan:
    """Validate `content`; raises PlanError with the first thing that is wrong."""
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise PlanError(f"{source}: {first_problem(error, content)}") from None


@lru_cache(maxsize=16)
def plan_from_canonical(data: bytes, *, source: str) -> Plan:
    """The plan whose `canonical` bytes these are; raises PlanError if they are not canonical.

    A site reads its plan at every message; plans are frozen, so the same bytes are parsed once.
    """
    try:
        plan = plan_from_dict(with_unused(json.loads(data)), source=source)
    except (UnicodeError, json.JSONDecodeError, RecursionError):
        raise PlanError(f"{source}: the plan inside is not JSON text.") from None
    except TypeError:
        raise PlanError(f"{source}: the plan inside is not a table of sections.") from None
    if plan.canonical != data:
        raise PlanError(f"{source}: the plan inside is not in canonical form.")
    return plan


def apply_overrides(content: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """`content` with `section.key=value` settings applied; values are TOML (bare words are taken as text)."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for setting in overrides:
        path, equals, raw = setting.partition("=")
        section, dot, key = path.strip().partition(".")
        if not (equals and dot and key) or not isinstance(result.get(section, {}), dict):
            raise PlanError(f"--set {setting}: expected section.key=value, for example --set training.rounds=10.")
        try:
            value = tomllib.loads(f"value = {raw}")["value"]
        except tomllib.TOMLDecodeError:
            value = raw.strip()
        result.setdefault(section, {})[key] = value
    return result


def first_problem(error: ValidationError, content: Any, *, hidden: str = "") -> str:
    """The first of pydantic's findings as one sentence: key, what was found, what is allowed.

    hidden: a section of which no value is shown, for people write secrets into it.
    """
    detail = error.errors(include_url=False)[0]
    key = _key(detail["loc"], content)
    kind, found = detail["type"], detail["input"]
    if hidden and detail["loc"][0] == hidden and kind not in ("extra_forbidden", "missing", "value_error"):
        return f"'{key}' (its value is not shown here) {_allowed(detail)}."
    if kind == "extra_forbidden":
        return f"unknown key '{key}'; docs/federation.md lists the keys that are allowed."
    if kind == "missing" and isinstance(detail["loc"][-1], int):
        return f"'{_key(detail['loc'][:-1], content)}' is {_short(found)}, but has too few entries."
    if kind == "missing":
        return f"required key '{key}' is missing."
    if kind == "too_short":
        return f"'{key}' is {_short(found)}, but at least {detail['ctx']['min_length']} entry is needed."
    message = _allowed(detail)
    if kind == "value_error":
        return f"{key}: {message}." if key else f"{message}."
    return f"'{key}' is {_short(found)}, but {message}."


def _allowed(detail: Any) -> str:
    """What pydantic asks for, which does not depend on what was found."""
    if detail["type"] == "too_long":
        return f"has more than {detail['ctx']['max_length']} entries"
    message = _WORDS.get(detail["type"], str(detail["msg"]))
    for start in ("Value error, ", "Input ", "String "):
        message = message.removeprefix(start)
    return message


def _key(location: tuple[int | str, ...], content: Any) -> str:
    """`tasks.severity.kind` rather than `tasks.1.kind`, where the entry has a name."""
    parts: list[str] = []
    for step in location:
        if isinstance(step, str) and step in ("float", "str", "int"):
            continue  # the branch of a union, not a key
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            content = None
        name = content.get("name") if isinstance(step, int) and isinstance(content, dict) else None
        parts.append(name if isinstance(name, str) else str(step))
    return ".".join(parts)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
