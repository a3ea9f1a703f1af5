"""Before round 1: each site holds its columns against the sum of the others', and says whether they are unlike.

A third sum over the training rows goes back to the sites, coarser than the surveys before it: 16 bins of a column, and
how pairs of columns go together. Whatever fewer than three sites hold is left out, so that what a site reads out of it
is the sum of two others at least.
"""

from typing import Any

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.associations import STAGE, Associations
from common.contribution import Contribution
from common.errors import RunError, TooFewSites
from common.plan import Plan
from common.plan.survey import LEAST_SITES
from server.cohort import shared_by
from server.exchange import Question, ask
from server.phases.context import Run

CODE, SILENT = "data_unlike_others", "not_told"
_CODES = {"alike", CODE, SILENT}


def compare(run: Run, grid: Grid, bins: NDArray[np.float32]) -> dict[str, Any]:
    """`unlike`, for the state's facts: which sites say what; empty where nothing is compared.

    bins: the edges of the survey's second pass. Without enough sites for the sum nothing is compared. Raises RunError
    where a site is unlike the others and the plan says 'stop'.
    """
    if not run.plan.survey.compares or len(run.cohort.levels) < LEAST_SITES:
        return {}
    layout = Associations(run.plan)
    edges = layout.edges_of(bins).ravel()
    question = Question("query.survey", run.plan.hash, stage=STAGE, vector=edges)
    try:
        total = run.sums.collect(
            question, size=layout.size, min_sites=run.min_sites, plausible=lambda _, vector: layout.plausible(vector)
        )
    except TooFewSites as few:  # the study does not depend on it
        run.journal.event("warning", text=f"The hospitals' data were not compared: {few}")
        return {}
    run.note_failures(total.failed, 0)
    if len(total.sites) < LEAST_SITES:
        return {}
    held = of_three(run.plan, [run.cohort.levels[site] for site in total.sites])
    shown = np.where(held, total.total, 0.0).astype(np.float32)
    nodes = [node for node, site in run.cohort.names.items() if site in total.sites]
    question = Question("query.compare", run.plan.hash, vector=np.concatenate([edges, shown]))
    answers = ask(grid, nodes, question, timeout_s=run.plan.aggregation.round_timeout_s)
    told = {run.cohort.names[node]: _code(content) for node, content in answers.contents.items()}
    failed = {run.cohort.names[node]: code for node, code in answers.failed.items()}
    failed |= {site: "wrong_shape" for site, code in told.items() if code is None}
    run.note_failures(failed, 0)
    return _told(run, {site: code for site, code in told.items() if code is not None}, failed)


def of_three(plan: Plan, levels: list[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """(size,) the entries that at least three of the sites hold. levels: of each site in the sum, (blocks,)."""
    contribution = Contribution(plan, "query.survey", STAGE)
    return contribution.entries_of(*shared_by(np.array(levels) > 0, contribution, least=LEAST_SITES))


def _told(run: Run, told: dict[str, str], failed: dict[str, str]) -> dict[str, Any]:
    unlike, silent = (sorted(site for site, code in told.items() if code == each) for each in (CODE, SILENT))
    for site in unlike:
        run.journal.event("site_unlike", site=site, code=CODE)
    if unlike and run.plan.survey.unlike == "stop":
        raise RunError(
            f"{', '.join(unlike)}: {CODE}; the plan says survey.unlike = 'stop'. The hospital's own log says which "
            "column; with corrected tables, run the study again under a plan with another hash."
        )
    return {"unlike": {"sites": unlike, "not_told": silent, "failed": sorted(failed), "asked": len(told) + len(failed)}}


def _code(content: RecordDict) -> str | None:
    """What a site says; None for anything but one of the codes."""
    record = content.get("opinion")
    code = record.get("code") if isinstance(record, ConfigRecord) and list(content) == ["opinion"] else None
    return code if isinstance(code, str) and code in _CODES else None
