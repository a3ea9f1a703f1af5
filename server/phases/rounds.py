"""One round: broadcast, one sum of updates and tallies, division block by block, the strategy's step."""

import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import RunError
from common.evaluation import Evaluation
from common.privacy import l2_norm
from common.schedule import learning_rate
from server.cohort import shared_by
from server.exchange import Question
from server.journal import RunState
from server.phases.context import Run, broadcast_of, curve_entry, normaliser_of
from server.strategy import ServerStep
from server.sums import Sum, plausible_tallies

Float64 = NDArray[np.float64]
_NORMS = 4  # each site adds: norm before clipping, norm after, 1 if it was clipped, 1


def train_round(run: Run, state: RunState, step: ServerStep) -> RunState:
    """The state after the next round. Raises TooFewSites, and RunError if the step is not finite."""
    started, number = time.monotonic(), state.round + 1
    plan, size = run.plan, run.layout.parameters
    judge = Evaluation(plan, plan.evaluation.round_bins, False)
    vector = broadcast_of(state, plan, state.arrays["edges"])
    question = Question("train", plan.hash, round=number, vector=vector)
    taking_part = _taking_part(run, state)
    plausible = partial(_plausible, run, taking_part)
    total = run.sums.collect(question, size=size + judge.size + _NORMS, min_sites=run.min_sites, plausible=plausible)
    update, tallies, norms = np.split(total.total, [size, size + judge.size])
    weight = _total_weight(run, total, taking_part)
    moved = weight > 0
    divided = np.divide(update, weight, out=np.zeros_like(update), where=moved)
    each = _own_steps(run, total.each, taking_part) if step.robust else None
    parameters = step.apply(number, state.arrays["parameters"], divided, moved, each)
    if not np.isfinite(parameters).all():
        raise RunError(
            f"round {number}: the step of {plan.aggregation.strategy!r} is not finite; lower "
            "aggregation.server_learning_rate. The journal holds the round before."
        )
    entry = curve_entry(number, total.sites, total.failed, tallies, judge) | _mean_norms(norms)
    entry |= {"learning_rate": learning_rate(plan.training, number), "seconds": time.monotonic() - started}
    run.note_failures(total.failed, number)
    run.journal.event("round", rounds=plan.training.rounds, **entry)
    edges = judge.next_edges(state.arrays["edges"], tallies, bins=plan.evaluation.round_bins)
    arrays = {"parameters": parameters, "normaliser": state.arrays["normaliser"], "edges": edges}
    bytes_up = max(total.bytes_up, state.facts.get("bytes_up", 0))
    facts = state.facts | {"history": [*state.facts["history"], entry], "bytes_up": bytes_up}
    return RunState(number, arrays | step.state(), facts)


def _plausible(run: Run, taking_part: Float64, sites: tuple[str, ...], vector: NDArray[np.floating]) -> bool:
    """Whether `sites`, if honest, can have sent this: updates within the clip norm, tallies, and norms that fit them.

    The sum is divided by the declared levels, so the bound holds for the update before its site weighted it: nothing in
    blocks that no site declared, and no more in the others than their levels allow.
    """
    size, limit = run.layout.parameters, run.plan.aggregation.clip_norm * len(sites) * (1.0 + 1e-3)
    before, after, clipped, count = vector[-_NORMS:]
    norms_fit = 0.0 <= after <= limit and after <= before * (1.0 + 1e-3) + 1e-3 and count == round(float(count))
    # In the open a site counts itself; in a secure sum one may have sent zeros.
    norms_fit = norms_fit and (count == 1 if len(sites) == 1 else 1 <= count <= len(sites))
    norms_fit = norms_fit and 0.0 <= clipped <= len(sites) and clipped == round(float(clipped))
    largest = np.max([run.cohort.levels[site] for site in sites], axis=0)
    weight = (largest * taking_part)[run.layout.block_of]
    own, update = weight > 0, vector[:size]
    update_fits = not update[~own].any() and l2_norm(update[own] / weight[own]) <= limit
    return norms_fit and update_fits and plausible_tallies(vector[size:-_NORMS], sites=len(sites))


def _taking_part(run: Run, state: RunState) -> Float64:
    """(blocks,) 1 for a block that is trained, 0 for one that was left out."""
    normaliser = normaliser_of(state, run.plan)
    return run.layout.taking_part(normaliser.task_available, normaliser.available)


def _total_weight(run: Run, total: Sum, taking_part: Float64) -> Float64:
    """(D,) sum of the declared levels of the sites in this sum; 0 for what too few of them hold."""
    levels = np.array([run.cohort.levels[site] for site in total.sites])
    blocks, pairs = shared_by(levels > 0, run.update, least=run.plan.aggregation.least_holders)
    # The encoder belongs to every task, so min_sites guards it.
    moved = run.update.entries_of({0, *blocks}, pairs)[: run.layout.parameters]
    if total.entries is not None:
        moved &= total.entries[: run.layout.parameters]
    return np.asarray((levels.sum(axis=0) * taking_part)[run.layout.block_of] * moved)


def _own_steps(run: Run, each: dict[str, NDArray[np.floating]], taking_part: Float64) -> dict[str, Float64]:
    """site -> (D,) its own step, for robust strategies.

    Where a site did not train a block it abstains: it is given the mean of those that did, which is no vote for
    standing still.
    """
    weights, steps = [], []
    for site, vector in each.items():
        weight = (run.cohort.levels[site] * taking_part)[run.layout.block_of]
        update = vector[: run.layout.parameters].astype(np.float64)
        weights.append(weight > 0)
        steps.append(np.divide(update, weight, out=np.zeros_like(update), where=weight > 0))
    holders = np.sum(weights, axis=0)
    mean = np.sum(steps, axis=0) / np.maximum(holders, 1)
    return {site: np.where(own, step, mean) for site, own, step in zip(each, weights, steps, strict=True)}


def _mean_norms(sums: Float64) -> dict[str, Any]:
    before, after, clipped, sites = (float(value) for value in sums)
    return {
        "norm_before_clip": before / sites,
        "norm_after_clip": after / sites,
        "clipped_fraction": clipped / sites,
    }
