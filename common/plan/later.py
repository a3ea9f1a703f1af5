"""What came after the first plans: where a plan does not use it, its canonical bytes do not hold it.

A plan that was approved, and a model file that carries one, keep their hash that way, and what they mean: what such
bytes do not hold is as it was before there was a key for it, whatever the key's default is today.
"""

from typing import Any

_SECTIONS: dict[str, Any] = {"sequence": None, "start": None, "survey": {"unlike": "warn"}}
_KEYS: dict[str, dict[str, Any]] = {
    "model": {"encoder": None, "sequence_width": None, "sequence_layers": None, "scaling": "pooled", "local": []},
    "tasks": {"event": None, "within_h": None},
    "training": {"patience": None, "balancing": "plain", "min_local_steps": 1},
}


def without_unused(content: dict[str, Any]) -> dict[str, Any]:
    """`content`, a plan as JSON, without later sections, and later keys, that say what is so anyway."""
    result = {name: part for name, part in content.items() if name not in _SECTIONS or part != _SECTIONS[name]}
    for name, keys in _KEYS.items():
        section = result[name]
        result[name] = [_without(t, keys) for t in section] if isinstance(section, list) else _without(section, keys)
    return result


def with_unused(content: dict[str, Any]) -> dict[str, Any]:
    """`content`, a plan's canonical JSON, with the later keys that it does not hold, at what their absence means.

    Raises TypeError if it is no table.
    """
    if not isinstance(content, dict):
        raise TypeError("not a table")
    return content | {
        name: _KEYS[name] | content[name] for name in ("model", "training") if isinstance(content.get(name), dict)
    }


def all_shared(content: dict[str, Any]) -> dict[str, Any]:
    """`content`, a plan as JSON, with pooled scaling and without parameters that stay at the sites."""
    own = ("scaling", "local")
    return content | {"model": {key: value for key, value in content["model"].items() if key not in own}}


def _without(table: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys or value != keys[key]}
