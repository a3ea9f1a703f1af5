"""docs/privacy-cost.md: tables, the paired differences that matter, and how the settings were chosen."""

from statistics import mean, stdev
from typing import Any

from common.intervals import over_splits
from common.plan.data import SplitRules
from experiments.privacy_cost.study import NONE
from experiments.privacy_cost.work import Chosen, Values, grid

_HEAD = """# What privacy costs

Written by `make privacy DATA=FOLDER` from runs of `examples/privacy.toml`; do not edit by hand. Mean over tasks of the
per-site mean AUROC on the test rows, mean ± standard deviation over seeds {seeds}. ε is of every patient, δ {delta:g},
for all that a run releases about that patient: survey and training of the training patients, evaluation of the test
patients. Sums are secure, but for pooled DP-SGD, where all rows lie in one place and no hospital is protected from it.

**How settings were chosen.** For each arm and ε the best of the same {count} settings ({keys}), by the mean over the
*validation* rows of other seeds than the tables' ({choice}). What else an arm needs was set once for all
(`examples/privacy.toml`). The choice costs privacy too where it is made on real patients' rows; it is not in ε here, as
in most of the literature. Splits of different seeds share patients, so a choice is not wholly blind to the test rows.
Ten eICU patients lie in the files of two hospitals: pooled DP-SGD takes them once, the other arms up to twice.
The runs without noise have the examples' own settings and their larger model: what a hospital gets that gives up noise.

Intervals are 95 % intervals over {n} splits, wider for the patients that these share ([baselines.md](baselines.md)).

Runs of commit `{commit}`; the settings were chosen by runs of `{chosen}` (`make privacy-choice`).
"""


def head(content: dict[str, Any], commit: str, chosen: str) -> str:
    """commit: of the table's runs. chosen: of those that chose the settings."""
    seeds = content["seeds"]
    return _HEAD.format(
        seeds=f"{seeds[0]} to {seeds[-1]}",
        n=len(seeds),
        delta=content["delta"],
        count=len(grid(content)),
        keys=", ".join(f"`{key}` of {_listed(values)}" for key, values in content["grid"].items()),
        choice="; ".join(f"{each['name']} {_listed(each['choice_seeds'])}" for each in content["federations"]),
        commit=commit,
        chosen=chosen,
    )


def section(name: str, values: Values, chosen: Chosen) -> str:
    """Of one federation."""
    arms = [title for title in values if title != NONE]
    epsilons = list(values[arms[0]])
    rows = [["ε", *arms], ["---"] * (len(arms) + 1)]
    rows += [[epsilon, *(_spread(values[title][epsilon]) for title in arms)] for epsilon in epsilons]
    lines = [f"## {name}", f"Without noise (ε = ∞): **{_spread(values[NONE]['∞'])}**.", _table(rows)]
    shared, local, pooled = (values[title] for title in ("noise shared out", "local noise", "pooled DP-SGD"))
    lines += [
        f"ε = {epsilon}: shared out minus local {_paired(shared[epsilon], local[epsilon])}, shared out minus pooled "
        f"{_paired(shared[epsilon], pooled[epsilon])}, shared out minus no noise "
        f"{_paired(shared[epsilon], values[NONE]['∞'])}."
        for epsilon in epsilons
    ]
    rows = [["Settings chosen at ε", *arms], ["---"] * (len(arms) + 1)]
    rows += [[epsilon, *(", ".join(chosen[title][epsilon]) for title in arms)] for epsilon in epsilons]
    return "\n\n".join([*lines, _table(rows)]) + "\n"


def _listed(values: list[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _spread(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def _paired(one: list[float], other: list[float]) -> str:
    overlap = SplitRules().test / SplitRules().train
    found = over_splits([a - b for a, b in zip(one, other, strict=True)], overlap)
    return f"{found['mean']:+.3f}" + (f" [{found['low']:+.3f}, {found['high']:+.3f}]" if "low" in found else "")
