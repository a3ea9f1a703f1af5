"""Two plans, key by key: what a person who approved the one has to look at in the other."""

from typing import Any

from common.plan import Plan

Tables = dict[str, dict[str, Any]]


def difference(old: Plan, new: Plan) -> list[str]:
    """One line for every key that differs, e.g. 'training.rounds: 30 -> 300'; empty where nothing does.

    Features and tasks are compared by name. Keys that a plan leaves out count with their defaults.
    """
    lines: list[str] = []
    then, now = _tables(old), _tables(new)
    for name in [*then, *(name for name in now if name not in then)]:
        if name not in now:
            lines.append(f"{name}: is gone")
        elif name not in then:
            told = [f"{key} = {_text(value)}" for key, value in now[name].items() if value not in (None, "", [])]
            lines.append(f"{name}: is new, {', '.join(told)}")
        else:
            values = [(key, then[name].get(key), value) for key, value in now[name].items()]
            lines += [f"{name}.{key}: {_text(a)} -> {_text(b)}" for key, a, b in values if a != b]
    in_order = (
        ("features", old.features, new.features),
        ("sequence.features", old.hour_features, new.hour_features),
        ("tasks", old.tasks, new.tasks),
    )
    for kind, a, b in in_order:
        names = [one.name for one in a], [one.name for one in b]
        if sorted(names[0]) == sorted(names[1]) and names[0] != names[1]:
            lines.append(f"{kind}: the same in another order, {', '.join(names[1])}")
    return lines


def _tables(plan: Plan) -> Tables:
    """Section -> its keys; each feature and task is a table of its own, 'features.age_years'."""
    result: Tables = {}
    content = plan.model_dump(mode="json")
    if (sequence := content.pop("sequence")) is not None:
        content["sequence.features"] = sequence.pop("features")
        content["sequence"] = sequence
    for section, keys in content.items():
        if isinstance(keys, list):
            result |= {f"{section}.{table['name']}": table for table in keys}
        elif keys is not None:
            result[section] = keys
    return result


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value) if value == "" else str(value)
