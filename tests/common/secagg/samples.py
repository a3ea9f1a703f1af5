"""Every class of message, read from the module that defines them: as hypothesis draws it, and as a round sends it."""

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from hypothesis import strategies as st

from common.secagg import messages

MESSAGES: list[type] = [
    kind for kind in vars(messages).values() if is_dataclass(kind) and kind.__module__ == messages.__name__
]

_SIMPLE = {
    int: st.integers(0, 2**64 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    bytes: st.binary(max_size=6),
}


def schema(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def drawn(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field or message of this kind."""
    if get_origin(kind) is tuple:
        return st.lists(drawn(get_args(kind)[0]), max_size=3).map(tuple)
    if is_dataclass(kind):
        return st.builds(kind, **{name: drawn(field) for name, field in schema(kind).items()})
    return _SIMPLE[kind]


def sample(kind: Any, random: np.random.Generator) -> Any:
    """A value such as a round with five sites sends: names, hashes of 32 bytes, small numbers, five items in a list."""
    if get_origin(kind) is tuple:
        return tuple(sample(get_args(kind)[0], random) for _ in range(5))
    if is_dataclass(kind):
        return kind(**{name: sample(field, random) for name, field in schema(kind).items()})
    if kind is str:
        return str(random.choice(["north", "süd", "university-hospital-west", "東"]))
    if kind is bytes:
        return random.bytes(int(random.choice([32, 32, 64, 160])))
    return int(random.integers(0, 1000)) if kind is int else float(random.normal())
