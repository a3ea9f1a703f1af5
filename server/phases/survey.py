"""Before round 1: what is left out, and the pooled normaliser from two sums over the training rows."""

from common.errors import RunError
from common.evaluation import first_edges
from common.model import initial_parameters
from common.survey import Survey
from server.exchange import Question
from server.journal import RunState
from server.phases.context import Run

LeftOut = dict[str, dict[str, str]]


def survey(run: Run) -> RunState:
    """The state from which round 1 starts. Raises RunError if nothing can be trained, TooFewSites."""
    plan, layout = run.plan, Survey(run.plan)
    left_out = too_few_holders(run)
    tasks = [task.name not in left_out["tasks"] for task in plan.tasks]
    features = [feature.name not in left_out["features"] for feature in plan.features]
    run.journal.event("left_out", **left_out)
    if not any(tasks):
        raise RunError(
            f"no task can be trained: each has labels at fewer than {plan.aggregation.least_holders} sites; "
            f"{plan.aggregation.holders_rule}."
        )
    edges = layout.first_edges()
    for stage in (1, 2):
        question = Question("query.survey", plan.hash, stage=stage, vector=edges.ravel())
        total = run.sums.collect(
            question, size=layout.size, min_sites=run.min_sites, plausible=lambda _, vector: layout.plausible(vector)
        )
        run.note_failures(total.failed, 0)
        if stage == 1:
            edges = layout.second_edges(total.total)
    normaliser = layout.normaliser(total.total, edges, features=features, tasks=tasks)
    if normaliser.rows < 1:
        raise RunError("the sites have no training rows; look at 'split' and 'data.keep_rows' in the plan.")
    run.journal.event("survey", rows=int(normaliser.rows), sites=list(total.sites))
    arrays = {
        "parameters": initial_parameters(run.layout, seed=plan.seeds.training),
        "normaliser": normaliser.to_vector(),
        "edges": first_edges(run.layout.outputs, bins=plan.evaluation.round_bins),
    }
    facts = {"history": [], "left_out": left_out, "missing": layout.missing(total.total)}
    return RunState(0, arrays, facts | {"sites": sorted(run.cohort.levels)})


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
