"""What a trained model is worth for a new task: several draws of a few labels, every method on the very same ones."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from client.adapt.draws import draw, source, strata
from client.adapt.material import Material
from client.adapt.methods import Learnt, Method, frozen, regression, scratch, unfrozen
from common.intervals import summarise
from common.plan import Task
from common.scores import exact_metrics

Tell = Callable[[str], None]
METHODS: dict[str, Method] = {
    "adapted": frozen,
    "adapted, encoder moved": unfrozen,
    "new network": scratch,
    "logistic regression": regression,
}


def measure_of(task: Task) -> str:
    """The metric by which a task is judged: `mae` of a quantity (lower is better), else `auroc`."""
    return "mae" if task.kind == "regression" else "auroc"


def judged(material: Material, learnt: Learnt) -> dict[str, Any]:
    """Exact metrics on the held-out rows."""
    rows = material.judged
    return exact_metrics(learnt.scores(material, rows), material.labels[rows], material.task)


def compared(
    material: Material,
    sizes: Sequence[int],
    *,
    draws: int,
    seed: int,
    methods: Sequence[str],
    tell: Tell = lambda text: None,
) -> list[dict[str, Any]]:
    """For each size: `labels`, and `methods`: name -> `values` over draws, with their mean and its interval.

    All but the first method also have `difference`: the first minus this one, paired over draws. A size that the rows
    do not give has `skipped`, the reason, instead. seed: of draws, folds, first weights and batches.
    """
    measure, result = measure_of(material.task), []
    classes = strata(material.task, material.labels[material.labelled])
    patients = material.patients[material.labelled]
    for size in sizes:
        try:
            drawn = [draw(classes, patients, size, source(seed, size, number)) for number in range(draws)]
        except ValueError:
            reason = f"needs labels of {size} different patients, at least 2 of each class"
            result.append({"labels": size, "skipped": reason})
            continue
        values: dict[str, list[float]] = {name: [] for name in methods}
        for number, chosen in enumerate(drawn):
            tell(f"{size} labels, draw {number + 1} of {draws}")
            for name in methods:
                learnt = METHODS[name](material, material.labelled[chosen], seed * 1_000 + number)
                values[name].append(float(judged(material, learnt)[measure]))
        first = values[methods[0]]
        entry: dict[str, Any] = {"labels": size, "methods": {}}
        for name, found in values.items():
            entry["methods"][name] = {"values": found} | summarise(found)
            if name != methods[0]:
                paired = [a - b for a, b in zip(first, found, strict=True)]
                entry["methods"][name]["difference"] = summarise(paired)
        result.append(entry)
    return result


def shares(material: Material) -> dict[str, int]:
    """How many labelled training and test rows there are, and their patients; of a binary task also the positives."""
    train, test = material.labelled, material.judged
    result = {
        "training_rows": len(train),
        "training_patients": len(np.unique(material.patients[train])),
        "test_rows": len(test),
        "test_patients": len(np.unique(material.patients[test])),
    }
    if material.task.kind == "binary":
        result["training_positives"] = int((material.labels[train] == 1.0).sum())
        result["test_positives"] = int((material.labels[test] == 1.0).sum())
    return result
