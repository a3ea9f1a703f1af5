"""All runs of the study, as many at once as there are cores, and the choice of settings among them."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from client.data.split import TEST, VALIDATION
from experiments.privacy_cost.study import NONE, Arm, Federation, Job

Chosen = dict[str, dict[str, tuple[str, ...]]]  # arm -> epsilon -> settings
Values = dict[str, dict[str, list[float]]]  # arm -> epsilon -> one value per seed


def grid(content: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every setting that is tried, the same for all arms."""
    keys = list(content["grid"])
    rows = product(*content["grid"].values())
    return [tuple(f"{key}={value}" for key, value in zip(keys, row, strict=True)) for row in rows]


def choose(content: dict[str, Any], federation: Federation, data: Path, work: Path) -> tuple[Chosen, list[float]]:
    """For each arm and epsilon the settings with the best mean on validation rows over the seeds kept for the choice.

    Also those means, of all that was tried.
    """
    seeds, settings = federation["choice_seeds"], grid(content)
    ways = [(Arm(**arm), epsilon) for arm in content["arms"].values() for epsilon in content["epsilons"]]
    jobs = [
        Job(federation, arm, epsilon, content["delta"], setting, seed, VALIDATION)
        for (arm, epsilon), setting, seed in product(ways, settings, seeds)
    ]
    values = list(_all(jobs, data, work))
    means = [mean(values[start : start + len(seeds)]) for start in range(0, len(values), len(seeds))]
    chosen: Chosen = {}
    for index, (arm, epsilon) in enumerate(ways):
        own = means[index * len(settings) : (index + 1) * len(settings)]
        chosen.setdefault(arm.title, {})[f"{epsilon:g}"] = settings[own.index(max(own))]
    return chosen, means


def measured(content: dict[str, Any], federation: Federation, chosen: Chosen, data: Path, work: Path) -> Values:
    """The quality on test rows, all arms at all epsilons with their settings; without noise there is one arm."""
    arms = [Arm(**arm) for arm in content["arms"].values()]
    ways: list[tuple[Arm, float | None, tuple[str, ...]]] = [(Arm(NONE), None, ())]
    ways += [(arm, epsilon, chosen[arm.title][f"{epsilon:g}"]) for arm in arms for epsilon in content["epsilons"]]
    seeds = content["seeds"]
    jobs = [Job(federation, *way[:2], content["delta"], way[2], seed, TEST) for way, seed in product(ways, seeds)]
    found = list(_all(jobs, data, work))
    values: Values = {}
    for index, (arm, epsilon, _) in enumerate(ways):
        own = found[index * len(seeds) : (index + 1) * len(seeds)]
        values.setdefault(arm.title, {})["∞" if epsilon is None else f"{epsilon:g}"] = own
    return values


def _all(jobs: Sequence[Job], data: Path, work: Path) -> Iterator[float]:
    with ProcessPoolExecutor(os.cpu_count(), initializer=_quiet) as pool:
        for number, (job, value) in enumerate(
            zip(jobs, pool.map(partial(_quality, data, work), jobs), strict=True), start=1
        ):
            print(f"{number}/{len(jobs)} {job.folder}: {value:.4f}", flush=True)
            yield value


def _quality(data: Path, work: Path, job: Job) -> float:
    return job.quality(data, work)


def _quiet() -> None:
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.WARNING)
