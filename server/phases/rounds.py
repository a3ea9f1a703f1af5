"""One round: broadcast, one sum, the step that follows from it, and the strategy that applies this.

The sum is one of updates and tallies, to be divided block by block; or, in pooled DP-SGD, of gradients and their noise.
"""

import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.contribution import NORMS
from common.errors import RunError
from common.evaluation import Evaluation
from common.penalty import l2_penalty
from common.schedule import learning_rate
from server.cohort import shared_by
from server.exchange import Question
from server.journal import RunState
from server.phases.context import Run, broadcast_of, curve_entry, normaliser_of
from server.phases.plausible import plausible_round
from server.strategy import ServerStep
from server.sums import Sum

Float64 = NDArray[np.float64]


def train_round(run: Run, state: RunState, step: ServerStep) -> RunState:
    """The state after the next round. Raises TooFewSites, and RunError if the step is not finite."""
    started, number = time.monotonic(), state.round + 1
    plan, asked = run.plan, run.update
    judge = Evaluation(plan, plan.evaluation.round_bins, False)
    vector = broadcast_of(state, plan, state.arrays["edges"])
    question = Question("train", plan.hash, round=number, vector=vector)
    taking_part = _taking_part(run, state)
    size, plausible = asked.narrow + asked.wide, partial(plausible_round, run, taking_part)
    total = run.sums.collect(question, size=size, min_sites=run.min_sites, plausible=plausible)
    update, tallies, norms = np.split(total.total, [asked.narrow, size - len(NORMS)])
    weight = _total_weight(run, total, taking_part)
    moved = weight > 0
    if plan.frozen:
        moved &= run.layout.output_of >= 0
    taken = _pooled(run, state, update, moved) if plan.privacy.pooled_steps else _divided(update, weight)
    each = _own_steps(run, total.each, taking_part) if step.robust else None
    parameters = step.apply(number, state.arrays["parameters"], taken, moved, each)
    if not np.isfinite(parameters).all():
        raise RunError(
            f"round {number}: the step of {plan.aggregation.strategy!r} is not finite; lower "
            "aggregation.server_learning_rate. The journal holds the round before."
        )
    entry = curve_entry(number, total.sites, total.failed, tallies, judge)
    entry |= {} if plan.privacy.noise_in_sum else _mean_norms(norms)
    entry |= {"learning_rate": learning_rate(plan.training, number), "seconds": time.monotonic() - started}
    run.note_failures(total.failed, number)
    edges = state.arrays["edges"]
    if len(tallies):
        edges = judge.next_edges(edges, tallies, bins=plan.evaluation.round_bins)
    arrays = {"parameters": parameters, "normaliser": state.arrays["normaliser"], "edges": edges}
    bytes_up = max(total.bytes_up, state.facts.get("bytes_up", 0))
    facts = state.facts | {"history": [*state.facts["history"], entry], "bytes_up": bytes_up}
    return RunState(number, arrays | step.state(), facts)


def _divided(update: Float64, weight: Float64) -> Float64:
    """(D,) the step of sites that weighted their updates: the sum, divided by the levels of those in it."""
    return np.divide(update, weight, out=np.zeros_like(update), where=weight > 0)


def _pooled(run: Run, state: RunState, gradient: Float64, moved: NDArray[np.bool_]) -> Float64:
    """(D,) one step of DP-SGD on the sum of all sites' clipped gradients and the gradient of the plan's penalty."""
    penalty = l2_penalty(run.layout, normaliser_of(state, run.plan).rows)
    whole = gradient + penalty * state.arrays["parameters"].astype(np.float64)
    return np.where(moved, -learning_rate(run.plan.training, state.round + 1) * whole, 0.0)


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
