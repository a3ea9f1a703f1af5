"""After the last round: the end of the learning curve, then the test rows in two passes, then the model goes home.

With patient-level privacy the test rows are counted once, under noise, and the validation rows not at all.
"""

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.contribution import Contribution
from common.evaluation import Evaluation, first_edges
from common.privacy.evaluation import PrivateEvaluation
from common.privacy.shares import largest_noise
from server.exchange import Question, ask
from server.journal import RunState
from server.phases.context import Run, broadcast_of, curve_entry
from server.sums import Sum, plausible_tallies

Edges = NDArray[np.float32]


def evaluate(run: Run, state: RunState) -> Edges:
    """Adds the pooled metrics to the state's facts; returns the score edges between which they were counted.

    Pass 1 over the test rows finds edges between which the scores are spread evenly, pass 2 counts between those: the
    bound on the pooled AUROC is then small however confident the model is.
    """
    run.journal.event("evaluation")
    if run.plan.privacy.per_patient:
        return _once(run, state, PrivateEvaluation(run.plan))
    plan, rules = run.plan, run.plan.evaluation
    number = state.round + 1
    judge = Evaluation(plan, rules.round_bins, False)
    total = _collect(run, state, judge, state.arrays["edges"], stage=0)
    entry = curve_entry(number, total.sites, total.failed, total.total, judge)
    state.facts["history"] = [*state.facts["history"], entry]
    final = Evaluation(plan, rules.histogram_bins, True)
    edges = first_edges(final.score_columns, bins=rules.histogram_bins)
    edges[: run.layout.outputs] = judge.next_edges(state.arrays["edges"], total.total, bins=rules.histogram_bins)
    total = _collect(run, state, final, edges, stage=1)
    edges = final.next_edges(edges, total.total, bins=rules.histogram_bins)
    total = _collect(run, state, final, edges, stage=2)
    state.facts["tasks"] = final.pooled(total.total)
    return edges


def _once(run: Run, state: RunState, judge: PrivateEvaluation) -> Edges:
    """One pass between edges that are fixed beforehand, under noise of known size."""
    edges = judge.first_edges()
    total = _collect(run, state, judge, edges, stage=2)
    state.facts["tasks"] = judge.pooled(total.total, sites=len(total.sites))
    return edges


def finish(run: Run, state: RunState, grid: Grid, edges: Edges) -> None:
    """Leave model, normaliser and plan hash at every site."""
    question = Question("query.finish", run.plan.hash, vector=broadcast_of(state, run.plan, edges))
    answers = ask(grid, run.cohort.names, question, timeout_s=run.plan.aggregation.round_timeout_s)
    failed = {run.cohort.names[node]: code for node, code in answers.failed.items()}
    run.note_failures(failed, state.round + 1)


def _collect(run: Run, state: RunState, judge: Evaluation | PrivateEvaluation, edges: Edges, *, stage: int) -> Sum:
    question = Question("evaluate", run.plan.hash, stage=stage, vector=broadcast_of(state, run.plan, edges))
    asked = Contribution(run.plan, "evaluate", stage)

    def plausible(sites: tuple[str, ...], vector: NDArray[np.floating]) -> bool:
        if isinstance(judge, PrivateEvaluation):
            return judge.plausible(vector, sites=len(sites), noise=largest_noise(asked, sites=len(sites)))
        return plausible_tallies(vector, sites=len(sites))

    total = run.sums.collect(question, size=judge.size, min_sites=run.min_sites, plausible=plausible)
    run.note_failures(total.failed, state.round + 1)
    return total
