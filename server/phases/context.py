"""What every phase needs: the plan, who takes part, how vectors are summed, where things are written down."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.broadcast import Broadcast
from common.contribution import Contribution
from common.evaluation import Evaluation
from common.model import Layout, Normaliser, layout_of
from common.plan import Plan
from server.cohort import Cohort
from server.journal import Journal, RunState
from server.sums import Summation

_CURVE = ("auroc", "mae", "accuracy", "loss")


@dataclass(frozen=True)
class Run:
    """One plan over one cohort."""

    plan: Plan
    cohort: Cohort
    sums: Summation
    journal: Journal

    @property
    def layout(self) -> Layout:
        return layout_of(self.plan)

    @cached_property
    def update(self) -> Contribution:
        """What a site sends in a round of training."""
        return Contribution(self.plan, "train")

    @property
    def min_sites(self) -> int:
        return self.plan.aggregation.least_sites

    def note_failures(self, failed: dict[str, str], number: int) -> None:
        """Name the sites that were left out of an exchange; number: its round, 0 before the first."""
        for site, code in sorted(failed.items()):
            self.journal.event("site_failed", site=site, round=number, code=code)


def normaliser_of(state: RunState, plan: Plan) -> Normaliser:
    return Normaliser.from_vector(state.arrays["normaliser"], plan)


def broadcast_of(state: RunState, plan: Plan, edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one array that goes to every site: model, normaliser and the score edges of the question."""
    return Broadcast(state.arrays["parameters"], normaliser_of(state, plan), edges).to_vector()


def curve_entry(
    number: int, sites: tuple[str, ...], failed: dict[str, str], tallies: NDArray[np.float64], judge: Evaluation
) -> dict[str, Any]:
    """One point of the learning curve: pooled metrics of the model that round `number` received.

    tallies: empty where the plan has none in a round; then no task is in it.
    """
    tasks = {}
    for name, entry in (judge.pooled(tallies) if len(tallies) else {}).items():
        metrics = entry["pooled"]
        if metrics["n"]:
            tasks[name] = {key: metrics[key] for key in _CURVE if key in metrics}
    return {"round": number, "sites": len(sites), "failed": failed, "tasks": tasks}
