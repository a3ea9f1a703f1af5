"""docs/adapt.md: the study as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from common.intervals import summarise
from common.plan import Plan
from experiments.adapt.study import DRAWS, SIZES, of_stays

Found = Mapping[str, Mapping[str, Any]]

_HEAD = """# A new task from few labels

`consilium adapt` adds a task to a trained model at one hospital:

```
consilium adapt model.safetensors site.toml --plan task.toml --out adapted.safetensors
```

`task.toml` holds the task as a plan does (docs/federation.md, `[[tasks]]`), for example

```toml
[[tasks]]
name = "readmission"
label = "readmitted_30d"
```

The label is a column of the site's tables; the features are the model's. Nothing leaves the site. The encoder stays as
it is, and so do all other tasks, bit for bit. The new head is linear in what the encoder and the other heads say, and
in the inputs beside it; penalties and the share of either are averaged over by how well they predict in
cross-validation (pseudo-BMA, Yao et al. 2018), so that with many labels the head leans on whatever works.

Of a model with hours ([federation.md](federation.md#hours)) the site.toml names the hourly tables, and the head leans
on the state after the last hour as well. The new task is one of the whole stay: an hourly one is refused.

`--unfreeze` moves the encoder as well, with a pull towards where it was; the file then predicts the new task only.
`consilium predict` reads the result. Beside the file are `.json` and `.html`: the comparison below, with the site's own
labels (`--labels 10,50,200`, `--draws 10`; from fewer than five draws no method is called better or worse). They and
the model are readable by their owner alone, and a model that was encrypted stays so. Files that are there already are
replaced only where an earlier `consilium adapt` wrote them.

A label that the model has learnt is refused, under whatever name: the encoder has seen it, and the comparison would
flatter the model. `consilium site benefit` fits such a task to one hospital ([benefit.md](benefit.md)).

A federation adds a task to an earlier model with `[start]` in its plan
([federation.md](federation.md#going-on-from-an-earlier-model)).

What is learnt here has no noise. The new model's plan therefore has no `[privacy]` section, whatever the former one
promised: for whom that matters, the model stays at the hospital.

## How much it is worth: {title}

Written by `python -m experiments.adapt DATA`; do not edit by hand. Tasks of `examples/{plan}` are held out, one at a
time: a federation learns the other {others}, then this one is learnt from 10, 50 or 200 labels of the training rows of
all sites together, and judged on all held-out patients (AUROC, pooled).{which}

{draws} draws for each number of labels, the same for every method: stratified, one row of a patient, at least two of
each class. Penalties are chosen by cross-validation among the drawn labels, for every method. In brackets is the 95 %
bootstrap interval over draws; the held-out patients and the trained model are the same in each. Seed {seed}, commit
`{commit}`.

- **adapted**: the trained encoder as it is, a new head. **adapted, encoder moved**: the same as a start (`--unfreeze`).
- **new network**: the same network from random weights, inputs scaled alike.
- **logistic regression**: L2, on z-scores, codes and missing marks.

Death in hospital and death in the ICU are nearly the same task: the one is among the others when the other is held out.
"""

_HOURS = """## With hours

Written by `python -m experiments.adapt DATA --hourly {encoder}`. The same for the tasks of the whole stay of
`examples/{plan}`, whose networks read hours 0 to {last} with the encoder `{encoder}`: the federation learns the other
{others} and {hourly}.{which} The logistic regression gets the row, and of each hourly feature the mean, the least, the
greatest and the last value and how often there was one. Mean over tasks:
"""


@dataclass(frozen=True)
class Hourly:
    """The study with hours. plan: its federation's. file: where that stands. found: as for `document`."""

    plan: Plan
    file: str
    found: Found


def document(
    found: Found,
    *,
    title: str,
    plan: str,
    tasks: int,
    seed: int,
    commit: str,
    sizes: Sequence[int] = SIZES,
    hourly: Hourly | None = None,
) -> str:
    """found: task -> what `held_out` gives."""
    which = _left(tasks, found)
    head = _HEAD.format(title=title, plan=plan, others=tasks - 1, which=which, draws=DRAWS, seed=seed, commit=commit)
    parts = [head, "## Mean over tasks", _means(found, sizes)]
    for size in sizes:
        parts += [f"## {size} labels", _tasks(found, size)]
    if hourly is not None:
        parts += [_of_hours(hourly), _means(hourly.found, sizes)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _of_hours(hourly: Hourly) -> str:
    plan, tasks = hourly.plan, len(of_stays(hourly.plan))
    return _HOURS.format(
        plan=hourly.file,
        encoder=plan.model.sequence_encoder,
        last=plan.hours - 1,
        others=tasks - 1,
        hourly=" and ".join(plan.tasks[index].name for index in plan.hourly) or "no hourly one",
        which=_left(tasks, hourly.found),
    )


def _left(tasks: int, found: Found) -> str:
    left = tasks - len(found)
    return f" {left} of the {tasks} tasks were not run." if left else ""


def _means(found: Found, sizes: Sequence[int]) -> str:
    """A draw's mean over tasks is one value; intervals are over draws."""
    rows = []
    names: list[str] = []
    for size in sizes:
        entries = [entry for each in found.values() if (entry := _of(each, size))]
        if not entries:
            continue
        names = list(entries[0]["methods"])
        curves = {name: _over_tasks([entry["methods"][name]["values"] for entry in entries]) for name in names}
        cells = [_spread(summarise(values)) for values in curves.values()]
        own = curves[names[0]]
        gaps = [summarise([a - b for a, b in zip(own, curves[name], strict=True)]) for name in names[1:]]
        rows.append([f"{size} ({len(entries)} tasks)", *cells, *(_signed(gap) for gap in gaps)])
    return _table(["labels", *names, *(f"adapted minus {name}" for name in names[1:])], rows)


def _over_tasks(values: list[list[float]]) -> list[float]:
    """The mean over tasks for each draw."""
    return [mean(draw) for draw in zip(*values, strict=True)]


def _tasks(found: Found, size: int) -> str:
    rows: list[list[str]] = []
    names: list[str] = []
    for task, each in found.items():
        entry = _of(each, size)
        if entry is None:
            continue
        names = list(entry["methods"])
        share = each["rows"]
        positives = f"{share['training_positives']} of {share['training_rows']}"
        rows.append([task, positives, *(_spread(entry["methods"][name]) for name in names)])
    return _table(["task", "positives", *names], rows)


def _of(each: Mapping[str, Any], size: int) -> Mapping[str, Any] | None:
    return next((entry for entry in each["sizes"] if entry["labels"] == size and "methods" in entry), None)


def _spread(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _signed(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
