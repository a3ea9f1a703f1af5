"""The audit of the sites' own mechanism, and of mistakes that it must find."""

import numpy as np
import pytest
from scipy.stats import binom

from client.training.private_trainer import PrivateTrainer
from common.privacy.accounting import epsilon
from common.privacy.events import Gaussian, Spent
from experiments.audit import bound, repeated
from experiments.audit.canaries import Canaries, audit_plan
from experiments.audit.planted import ClippedByTask, FixedBatch, FullBatches, HalfTheNoise
from experiments.audit.run import MakeTrainer, Played, Score, play
from experiments.audit.study import HONEST, Setting, rows


def _refuted(played: Played) -> float:
    return bound.audited(played.scores, played.inside, delta=played.delta).epsilon


def _everybody(canaries: int = 500, **options: float) -> Canaries:
    return Canaries(audit_plan(canaries=canaries, **({"noise_multiplier": 2.0, "delta": 1e-6} | options)))


def _sampled(canaries: int = 500) -> Canaries:
    return Canaries(audit_plan(canaries=canaries, noise_multiplier=1.3, delta=1e-6, batch_share=0.05))


def test_without_noise_worth_the_name_every_canary_is_found() -> None:
    played = play(_everybody(noise_multiplier=0.02), sites=1, seed=0)
    best = bound.audited(played.scores, played.inside, delta=played.delta)
    assert played.scores[played.inside].min() > played.scores[~played.inside].max()
    assert 0.6 * best.ceiling < best.epsilon <= best.ceiling  # coins are not half of them in, exactly
    assert best.epsilon < played.epsilon, "what is proven is worse than what so few canaries can show"


@pytest.mark.parametrize("score", ["gradient", "loss"])
def test_without_noise_worth_the_name_one_canary_is_found_in_every_run(score: Score) -> None:
    played = play(_everybody(1, noise_multiplier=0.02), sites=200, seed=0, score=score)
    assert played.scores[played.inside].min() > played.scores[~played.inside].max()
    found = repeated.audited(played.scores, played.inside, delta=played.delta)
    assert found.found_outside == 0 and 0.5 * found.ceiling < found.epsilon <= found.ceiling


def test_with_much_noise_nobody_is_found() -> None:
    played = play(_everybody(noise_multiplier=200.0), sites=2, seed=0)
    assert _refuted(played) == 0.0 < played.epsilon


@pytest.mark.parametrize("rounds", [1, 4])
def test_scores_are_as_far_apart_as_the_noise_says(rounds: int) -> None:
    """Each round adds a signal of 0.94 clip norms, or a little more, and noise of 2 clip norms."""
    played = play(_everybody(1000, rounds=rounds), sites=4, seed=1)
    inside, outside = played.scores[played.inside], played.scores[~played.inside]
    distance = (inside.mean() - outside.mean()) / np.sqrt((inside.var() + outside.var()) / 2.0)
    assert distance == pytest.approx(0.945 * np.sqrt(rounds) / 2.0, abs=0.11)


def test_the_proven_epsilon_is_the_accountants() -> None:
    """500 canaries: 250 patients expected, 12 in a batch, 21 steps."""
    played = play(_sampled(), sites=1, seed=0)
    assert played.epsilon == epsilon([Spent(Gaussian(1.3, 12 / 250, 21), "a", "b")], delta=1e-6)


def test_the_same_seed_plays_the_same_run() -> None:
    one, again, other = (play(_sampled(100), sites=2, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.scores, again.scores) and np.array_equal(one.inside, again.inside)
    assert not np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("canaries", [_everybody(), _sampled()], ids=["everybody", "sampled"])
def test_twenty_correct_runs_refute_no_more_than_is_proven(canaries: Canaries) -> None:
    runs = [play(canaries, sites=2, seed=seed) for seed in range(20)]
    beyond = sum(_refuted(played) > played.epsilon for played in runs)
    assert binom.sf(beyond - 1, len(runs), 0.05) > 0.05
    assert max(_refuted(played) for played in runs) > 0.0, "an audit that never refutes anything says nothing"


BUGS = {
    "half the noise": (_everybody(1000), 64, HalfTheNoise),
    "full batches": (_sampled(1000), 2, FullBatches),
    "fixed batch": (_sampled(1000), 8, FixedBatch),
    "clipped by task": (_everybody(tasks=16), 8, ClippedByTask),
}


@pytest.mark.parametrize("name", BUGS)
def test_mistakes_are_caught_and_the_correct_mechanism_is_not(name: str) -> None:
    canaries, sites, mistaken = BUGS[name]

    def caught(trainer: MakeTrainer) -> bool:
        played = play(canaries, sites=sites, seed=0, trainer=trainer)
        return _refuted(played) > played.epsilon

    assert caught(mistaken) and not caught(PrivateTrainer)


_ALONE = (Canaries(audit_plan(canaries=1, noise_multiplier=1.0, delta=1e-2)), 4000, HalfTheNoise)
_DRAWN = (
    Canaries(audit_plan(canaries=1, noise_multiplier=1.0, delta=1e-2, ordinary=10, batch_share=0.1), ordinary=10),
    400,
    FullBatches,
)


@pytest.mark.parametrize(("of", "score"), [(_ALONE, "gradient"), (_ALONE, "loss"), (_DRAWN, "gradient")])
def test_many_runs_of_one_canary_catch_mistakes_too(of: tuple[Canaries, int, MakeTrainer], score: Score) -> None:
    canaries, runs, mistaken = of

    def caught(trainer: MakeTrainer) -> bool:
        played = play(canaries, sites=runs, seed=0, score=score, trainer=trainer)
        return repeated.audited(played.scores, played.inside, delta=played.delta).epsilon > played.epsilon

    assert caught(mistaken) and not caught(PrivateTrainer)


def test_the_study_is_a_plain_table() -> None:
    setting = Setting("small", _sampled(200), 2, {"full batches": FullBatches})
    table = rows(setting, repetitions=3)
    assert [row["mistake"] for row in table] == [HONEST, "full batches"]
    honest, mistaken = table
    assert honest["caught"] == 0.0 and honest["refuted"] < mistaken["refuted"] <= mistaken["largest"]
    assert all(row["refuted"] <= row["ceiling"] and row["canaries"] == 400 for row in table)
