"""Folders on the command line -> runs by label and split seed, refused unless they can be paired."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import ConsiliumError, RunError
from common.files import read_bytes
from server.dashboard.report import SCHEMA
from server.result import RESULT

Result = Mapping[str, Any]
Runs = dict[str, dict[int, Result]]
_DEEPEST = 2  # RUN/SEED/BASELINE


def gather(folders: Sequence[Path], *, labels: Sequence[str] = ()) -> Runs:
    """label -> split seed -> result, labels in the order of `folders`.

    labels: one for each folder; the same one twice makes the folders seeds of one thing. Without it a baseline is
    called by its own name, and any other run by the name of its folder; a folder with several baselines keeps their
    names apart. Raises RunError if the runs cannot be paired, ConsiliumError if a file is not a result.
    """
    if labels and len(labels) != len(folders):
        raise RunError(f"--labels names {len(labels)} label(s) for {len(folders)} RUN(s); give one for each.")
    runs: Runs = {}
    origin: dict[tuple[str, int], Path] = {}
    for folder, given in zip(folders, labels or [""] * len(folders), strict=True):
        for path, label, result in _labelled(folder, given):
            seed = int(result.get("seeds", {}).get("split", result.get("seed", 0)))
            other = origin.setdefault((label, seed), path)
            if other is not path:
                raise RunError(
                    f"{path} and {other} are both {label!r} with split seed {seed}; tell them apart with --labels."
                )
            runs.setdefault(label, {})[seed] = result
    _check(runs)
    return {label: dict(sorted(seeds.items())) for label, seeds in runs.items()}


def _labelled(folder: Path, given: str) -> list[tuple[Path, str, Result]]:
    """(file, label, result) of everything in one RUN."""
    files = _results(folder, _DEEPEST)
    if not files:
        raise RunError(f"{folder}: no {RESULT} in this folder or in folders below it.")
    read = [(file, _read(file)) for file in files]
    names = {str(result.get("baseline", "")) for _, result in read}
    found = []
    for file, result in read:
        name = str(result.get("baseline", ""))
        label = given or name or folder.resolve().name
        if given and name and len(names) > 1:
            label = f"{given}/{name}"
        found.append((file, label, result))
    return found


def _results(folder: Path, depth: int) -> list[Path]:
    if (folder / RESULT).is_file():
        return [folder / RESULT]
    if depth == 0 or not folder.is_dir():
        return []
    return [file for inner in sorted(folder.iterdir()) for file in _results(inner, depth - 1)]


def _read(path: Path) -> Result:
    try:
        result = json.loads(read_bytes(path))
    except ValueError:
        raise ConsiliumError(f"{path}: not JSON; it may be cut off or damaged.") from None
    schema = result.get("schema") if isinstance(result, dict) else None
    if schema != SCHEMA:
        raise ConsiliumError(f"{path}: schema is {schema!r}; this version reads {SCHEMA!r}.")
    return dict(result)


def _check(runs: Runs) -> None:
    """Raise RunError unless every label has the same seeds, tasks and test rows as the first."""
    (first, reference), *others = runs.items()
    if not others:
        raise RunError(f"only runs of {first!r} were given; a comparison needs at least two labels (--labels).")
    for label, seeds in others:
        if seeds.keys() != reference.keys():
            raise RunError(
                f"{first!r} has runs of split seed {_list(reference)}, but {label!r} of {_list(seeds)}; differences "
                "are paired by seed, so both need the same (or put runs together with --labels)."
            )
        for seed, result in seeds.items():
            _check_pair(first, reference[seed], label, result, seed)


def _check_pair(first: str, ours: Result, label: str, theirs: Result, seed: int) -> None:
    if _tasks(ours) != _tasks(theirs):
        differing = sorted(_tasks(ours) ^ _tasks(theirs))
        raise RunError(
            f"{first!r} and {label!r} are not of the same plan: task {differing[0]!r} is in one of them only."
        )
    for name in sorted(ours["tasks"].keys() & theirs["tasks"].keys()):
        a, b = ours["tasks"][name], theirs["tasks"][name]
        if a["kind"] != b["kind"]:
            raise RunError(f"task {name!r} is {a['kind']} in {first!r} and {b['kind']} in {label!r}.")
        ours_on, theirs_on = (_judged_on(each) for each in (a, b))
        if ours_on != theirs_on:
            raise RunError(
                f"seed {seed}, task {name!r}: {first!r} was judged on {ours_on}, {label!r} on {theirs_on}; the splits "
                "or the data differ, so they cannot be paired."
            )


def _judged_on(task: Mapping[str, Any]) -> str:
    """The rows behind the per-site mean: equal for two runs on one split of the same data."""
    mean = task.get("per_site_mean")
    return f"{mean.get('n')} test rows of {mean.get('sites')} sites" if mean else "no site"


def _tasks(result: Result) -> set[str]:
    """The plan's tasks: a run may have left some out."""
    return set(result["tasks"]) | set(result.get("left_out", {}).get("tasks", {}))


def _list(seeds: Mapping[int, Any]) -> str:
    return ", ".join(map(str, sorted(seeds)))
