"""Conditions in a plan, such as `>= 2` or `has_vitals == 1`: parsed once, never evaluated as code."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_SHAPE = re.compile(r"^\s*(?P<column>[^\s<>=!]+)?\s*(?P<op>>=|<=|==|!=|>|<)\s*(?P<value>\S(?:.*\S)?)\s*$")


@dataclass(frozen=True)
class Condition:
    """`column op value`; `column` is None where the plan already names the column.

    value: a float, or a text when it is written in quotes (then only == and != are allowed).
    """

    column: str | None
    op: str
    value: float | str

    def holds(self, values: Any) -> Any:
        """Elementwise truth of the condition; `values` is a number, a text, an array or a pandas column."""
        return _OPERATORS[self.op](values, self.value)


def parse_condition(text: str, *, key: str, with_column: bool) -> Condition:
    """Parse `text`, the value of `key`; raises ValueError with one sentence that says what is allowed."""
    example = "has_vitals == 1" if with_column else ">= 2"
    match = _SHAPE.match(text)
    if match is None or (match["column"] is not None) != with_column:
        raise ValueError(
            f"'{key}' is {text!r}; allowed is one comparison such as '{example}' with >=, <=, ==, !=, > or <"
        )
    raw = match["value"]
    if len(raw) >= 2 and raw[0] == raw[-1] and raw[0] in "'\"":
        if match["op"] not in ("==", "!="):
            raise ValueError(f"'{key}' is {text!r}; a text in quotes can only be compared with == or !=")
        return Condition(match["column"], match["op"], raw[1:-1])
    try:
        number = float(raw)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return Condition(match["column"], match["op"], number)
    raise ValueError(f"'{key}' is {text!r}; {raw!r} is neither a finite number nor a text in quotes")
