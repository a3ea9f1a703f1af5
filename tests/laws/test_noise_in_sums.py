"""Every value that leaves a patient-level plan carries noise, and in the coordinator's sum at least as much as it pays.

Two federations that differ in nothing but the seeds of their noise: what is left of the difference of their sums is
noise, of twice the variance.
"""

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, RecordDict
from numpy.typing import NDArray

from client.sessions import close_sessions, open_session
from common.contribution import Contribution
from common.layouts import survey_of
from common.plan import Plan
from common.privacy.mechanism import mechanism
from common.secagg.primitives import Random
from experiments.seeded import SeededRandomness
from server.exchange import Question
from tests.conftest import small_content, small_table
from tests.laws.one_site import OneSite, per_patient
from tests.secure import NAMES, broadcast, build

pytestmark = pytest.mark.usefixtures("closed")
Z, BATCH, NORM = 1.5, 32, 0.75
ASKED = {"query.survey": 1, "train": 0, "evaluate": 2}
MANY = 30
SIGMAS = 4.0  # of the estimated standard deviation
PRIVACY = {"unit": "patient", "noise_multiplier": Z, "max_grad_norm": NORM, "expected_patients": 300}
SIZES: dict[str, dict[str, Any]] = {
    "model": {"hidden": [8]},
    "training": {"rounds": 1, "batch_size": BATCH},
    "aggregation": {"min_sites": 4, "colluding_sites": 1},
}
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseFrom:
    """Samples always follow from seed 0, noise from `seed`."""

    seed: int
    site: str

    def source(self, *words: str | int) -> Random:
        return SeededRandomness(self.seed if words[0] == "noise" else 0, self.site).source(*words)


def _many() -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """More features and tasks, so that there are enough entries to measure a standard deviation on; and five tables."""
    names = [f"x{number}" for number in range(MANY)]
    features = small_content()["features"] + [{"name": name, "range": [0, 1]} for name in names]
    tasks = [{"name": f"y{number}", "label": f"label{number}"} for number in range(MANY)]
    tables = {}
    for seed, site in enumerate(NAMES):
        random = np.random.default_rng(seed)
        more = {name: random.random(90) for name in names}
        more |= {f"label{number}": random.integers(0, 2, 90) for number in range(MANY)}
        tables[site] = small_table(seed).assign(**more)
    return {"features": features, "tasks": tasks}, tables


@dataclass(frozen=True)
class Sums:
    """kind -> the sum over five sites, and which of its entries take part."""

    plan: Plan
    totals: dict[str, Float64]
    entries: dict[str, NDArray[np.bool_]]

    def noised(self, kind: str) -> NDArray[np.bool_]:
        """The entries that have to have noise: all that take part but, in training, the four about lengths."""
        last = Contribution(self.plan, kind).narrow if kind == "train" else len(self.entries[kind])
        return self.entries[kind] & (np.arange(len(self.entries[kind])) < last)


def _sums(folder: Path, seeds: dict[str, int]) -> Sums:
    """What the coordinator gets; seeds: site -> of its noise."""
    sections, tables = _many()
    federation = build(folder, 5, tables=tables, privacy=PRIVACY | {"noise": "shared"}, **SIZES, **sections)
    plan, totals, entries = federation.plan, {}, {}
    for site, seed in seeds.items():
        federation.session(site).randomness = NoiseFrom(seed, site)
    with federation.sums() as sums:
        for kind, stage in ASKED.items():
            asked = Contribution(plan, kind, stage)
            vector = (
                survey_of(plan).first_edges().ravel() if kind == "query.survey" else broadcast(plan, final=stage > 0)
            )
            question = Question(kind, plan.hash, int(kind == "train"), stage, vector)
            total = sums.collect(question, size=asked.narrow + asked.wide, min_sites=4, plausible=lambda *_: True)
            assert total.sites == NAMES and total.entries is not None
            totals[kind], entries[kind] = total.total, total.entries
    close_sessions()
    return Sums(plan, totals, entries)


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sums]:
    """One run, the same again, one with other noise at all five sites, and one with other noise at three of them."""
    first, second = dict.fromkeys(NAMES, 1), dict.fromkeys(NAMES, 2)
    runs = {"one": first, "same": first, "other": second, "three": first | dict.fromkeys(NAMES[:3], 2)}
    return {name: _sums(tmp_path_factory.mktemp(name), seeds) for name, seeds in runs.items()}


def _sensitivity(plan: Plan, kind: str) -> float:
    """How far one patient moves the sum; of a gradient by its bound, in the sum that is divided by the batch size."""
    return NORM / BATCH if kind == "train" else Contribution(plan, kind, ASKED[kind]).sensitivity


def _deviation(one: Float64, other: Float64) -> float:
    """Standard deviation of the noise in either of two sums of the same values."""
    return float(np.sqrt(np.mean(np.square(one - other)) / 2.0))


@pytest.mark.parametrize("kind", ASKED)
def test_every_entry_of_a_sum_carries_the_noise_that_is_paid_for(kind: str, sums: dict[str, Sums]) -> None:
    """More of it where all five sites report, as the shares are made for the four that the plan promises, less one."""
    one, same, other = (sums[name].totals[kind] for name in ("one", "same", "other"))
    entries, noised = sums["one"].entries[kind], sums["one"].noised(kind)
    assert np.array_equal(one, same), "the two differ in more than their noise"
    assert (one != other)[noised].all()
    assert not one[~entries].any() and np.array_equal(one[~noised], other[~noised])
    count, sigma = int(noised.sum()), Z * _sensitivity(sums["one"].plan, kind)
    assert count > 100
    found, expected = _deviation(one[noised], other[noised]), sigma * sqrt(5 / 3)
    assert abs(found / expected - 1.0) < SIGMAS / sqrt(2 * count), (found, expected)


@pytest.mark.parametrize("kind", ASKED)
def test_noise_is_enough_where_all_but_three_sites_tell_theirs(kind: str, sums: dict[str, Sums]) -> None:
    """One site of the promised four sides with the coordinator: what the others do not know is the calibrated noise."""
    one, three, noised = sums["one"].totals[kind], sums["three"].totals[kind], sums["one"].noised(kind)
    assert (one != three)[noised].all()
    found, sigma = _deviation(one[noised], three[noised]), Z * _sensitivity(sums["one"].plan, kind)
    assert abs(found / sigma - 1.0) < SIGMAS / sqrt(2 * int(noised.sum())), (found, sigma)


def _answer(one: OneSite, plan: Plan, kind: str, seed: int) -> Float64:
    close_sessions()
    session = open_session(Context(1, 1, {"site-config": str(one.folder / "site.toml")}, RecordDict(), {}))
    session.randomness = NoiseFrom(seed, "north")
    reply = one.ask(plan, kind)
    return np.array(reply.content["arrays"]["vector"].numpy(), dtype=np.float64)


@pytest.mark.parametrize("kind", ["query.survey", "evaluate"])
def test_every_entry_that_one_site_sends_in_the_open_carries_all_of_the_noise(kind: str, site: Any) -> None:
    plan = per_patient(privacy=PRIVACY | {"noise": "local"})
    one = site(plan)
    first, same, other = (_answer(one, plan, kind, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, same) and (first != other).all()
    sigma = Z * _sensitivity(plan, kind)
    assert mechanism(plan, patients=60).survey_multiplier == Z
    assert abs(_deviation(first, other) / sigma - 1.0) < SIGMAS / sqrt(2 * len(first))


def test_update_under_local_noise_differs_wherever_the_model_is_trained(site: Any) -> None:
    plan = per_patient(privacy=PRIVACY | {"noise": "local"})
    one = site(plan)
    seeds = [SeededRandomness(seed, "north") for seed in (1, 2)]
    assert seeds[0] != seeds[1]
    asked = Contribution(plan, "train")
    first, second = (one.ask(plan, "train").content["arrays"]["vector"].numpy()[: asked.narrow] for _ in range(2))
    moved = (first != 0) | (second != 0)
    assert (first != second)[moved].all() and moved.sum() > 0.9 * asked.narrow
