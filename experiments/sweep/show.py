"""What came out of an experiment, for a terminal: one line per combination."""

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from experiments.sweep.experiment import Experiment, toml
from experiments.sweep.figures import FAILED, MEAN

_SHOWN = ("auroc", "mae")


def summary(experiment: Experiment, means: pd.DataFrame) -> Table:
    """Per-site means, over tasks, with 95 % intervals over seeds, epsilon, and how many seeds could not be run."""
    table = Table(title=Text(experiment.title, style="bold"), title_justify="left", box=SIMPLE_HEAD)
    of_tasks = set(means[means["subject"] == MEAN]["measure"])
    measures = [measure for measure in _SHOWN if measure in of_tasks]
    for name in (*(_short(factor) for factor in experiment.factors), *measures, "epsilon", "failed"):
        table.add_column(name, overflow="fold")
    for factors, _ in experiment.combinations:
        shown = [value if isinstance(value, str) else toml(value) for value in factors.values()]
        own = means
        for name, value in zip(experiment.factors, shown, strict=True):
            own = own[own[name] == value]
        cells = [_cell(own[(own["subject"] == MEAN) & (own["measure"] == measure)]) for measure in measures]
        epsilon = own[(own["subject"] == "run") & (own["measure"] == "epsilon")]["mean"]
        failed = int(own[own["subject"] == FAILED]["n"].sum())
        table.add_row(
            *(Text(each) for each in (*shown, *cells)),
            "" if epsilon.empty else f"{epsilon.iloc[0]:.3g}",
            str(failed) if failed else "",
        )
    return table


def _short(factor: str) -> str:
    """The key without its section."""
    return factor.rpartition(".")[2].replace("_", " ")


def _cell(row: pd.DataFrame) -> str:
    if row.empty:
        return ""
    mean, low, high = (float(row.iloc[0][key]) for key in ("mean", "low", "high"))
    return f"{mean:.3f}" if low != low else f"{mean:.3f} [{low:.3f}, {high:.3f}]"
