"""Before round 1: what is left out, and the pooled normaliser from two sums over the training rows, or a noised one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.contribution import Contribution
from common.errors import RunError
from common.evaluation import first_edges
from common.model import Normaliser, initial_parameters
from common.privacy.evaluation import PrivateEvaluation
from common.privacy.shares import largest_noise
from common.privacy.survey import PrivateSurvey
from common.survey import Survey
from server.exchange import Question
from server.journal import RunState
from server.phases.comparison import compare
from server.phases.context import Run
from server.start import read_start, start_facts

LeftOut = dict[str, dict[str, str]]


@dataclass(frozen=True)
class _Found:
    """What the sums say. edges: the score edges of round 1. facts: what the result says of the survey.

    bins: (numeric features, bins - 1) of the last pass; None under noise, where no site compares itself.
    """

    normaliser: Normaliser
    sites: tuple[str, ...]
    edges: NDArray[np.float32]
    facts: dict[str, Any]
    bins: NDArray[np.float32] | None = None


def survey(run: Run, grid: Grid) -> RunState:
    """The state from which round 1 starts. Raises RunError if nothing can be trained, TooFewSites.

    And RunError where a site is unlike the others and the plan says that the run ends then.
    """
    plan = run.plan
    left_out = too_few_holders(run)
    tasks = [task.name not in left_out["tasks"] for task in plan.tasks]
    features = [feature.name not in left_out["features"] for feature in plan.inputs]
    run.journal.event("left_out", **left_out)
    if not any(tasks):
        raise RunError(
            f"no task can be trained: each has labels at fewer than {plan.aggregation.least_holders} sites; "
            f"{plan.aggregation.holders_rule}."
        )
    found = (_once if plan.privacy.per_patient else _twice)(run, features, tasks)
    if found.normaliser.rows < 1:
        raise RunError("the sites have no training rows; look at 'split' and 'data.keep_rows' in the plan.")
    run.journal.event("survey", rows=int(found.normaliser.rows), sites=list(found.sites))
    begin, normaliser = read_start(plan, run.journal.folder), found.normaliser
    compared = {} if found.bins is None else compare(run, grid, found.bins)
    arrays = {
        "parameters": initial_parameters(run.layout, seed=plan.seeds.training) if begin is None else begin.parameters,
        "normaliser": (normaliser if begin is None else begin.scaled(normaliser)).to_vector(),
        "edges": found.edges,
    }
    facts = {"history": [], "left_out": left_out} | found.facts | compared
    if begin is not None:
        facts["start"] = start_facts(plan, run.journal.folder, begin)
    return RunState(0, arrays, facts | {"sites": sorted(run.cohort.levels)})


def _twice(run: Run, features: list[bool], tasks: list[bool]) -> _Found:
    """Exact sums: the second pass between edges found in the first."""
    layout = Survey(run.plan)
    edges = layout.first_edges()
    for stage in (1, 2):
        question = Question("query.survey", run.plan.hash, stage=stage, vector=edges.ravel())
        total = run.sums.collect(
            question, size=layout.size, min_sites=run.min_sites, plausible=lambda _, vector: layout.plausible(vector)
        )
        run.note_failures(total.failed, 0)
        if stage == 1:
            edges = layout.second_edges(total.total)
    normaliser = layout.normaliser(total.total, edges, features=features, tasks=tasks)
    score_edges = first_edges(run.layout.outputs, bins=run.plan.evaluation.round_bins)
    return _Found(normaliser, total.sites, score_edges, {"missing": layout.missing(total.total)}, edges)


def _once(run: Run, features: list[bool], tasks: list[bool]) -> _Found:
    """One sum under noise."""
    layout, asked = PrivateSurvey(run.plan), Contribution(run.plan, "query.survey", 1)
    edges = layout.first_edges()

    def plausible(sites: tuple[str, ...], vector: NDArray[np.floating]) -> bool:
        return layout.plausible(vector, sites=len(sites), noise=largest_noise(asked, sites=len(sites)))

    question = Question("query.survey", run.plan.hash, stage=1, vector=edges.ravel())
    total = run.sums.collect(question, size=layout.size, min_sites=run.min_sites, plausible=plausible)
    run.note_failures(total.failed, 0)
    count = len(total.sites)
    normaliser = layout.normaliser(total.total, edges, features=features, tasks=tasks, sites=count)
    errors = layout.errors(total.total, edges, sites=count)
    facts = {"missing": layout.missing(total.total, sites=count), "survey_noise": errors}
    return _Found(normaliser, total.sites, PrivateEvaluation(run.plan).first_edges(), facts)


def too_few_holders(run: Run) -> LeftOut:
    """Tasks and features that fewer sites hold than the plan asks for, each with the reason."""
    needed, rule = run.plan.aggregation.least_holders, run.plan.aggregation.holders_rule
    result: LeftOut = {"tasks": {}, "features": {}}
    for block, name in enumerate(run.layout.block_names):
        kind, _, item = name.partition(":")
        holders = len(run.cohort.holders(block))
        if kind in ("shared", "mean") or holders >= needed:
            continue
        one, many = ("has labels", "have labels") if kind == "task" else ("records it", "record it")
        found = f"1 site {one}" if holders == 1 else f"{holders or 'no'} sites {many}"
        result["tasks" if kind == "task" else "features"][item] = f"{found}; {rule}"
    return result
