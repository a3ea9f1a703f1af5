"""What the audit finds, and how surely: the sites' own mechanism, and each planted mistake, over repetitions.

Each setting is the one in which its mistake shows best within about a minute. The honest mechanism runs in all of them:
what is refuted there beyond the proven epsilon, more often than in one of twenty runs, is a mistake of the project.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

from client.training.private_trainer import PrivateTrainer
from experiments.audit import bound, repeated
from experiments.audit.canaries import Canaries, audit_plan
from experiments.audit.planted import ClippedByTask, FixedBatch, FullBatches, HalfTheNoise
from experiments.audit.run import MakeTrainer, Played, play

HONEST = "none"


@dataclass(frozen=True)
class Setting:
    """sites: hospitals of one run with all canaries; or, with one canary each, independent runs.

    mistakes: name -> trainer that makes it.
    """

    name: str
    canaries: Canaries
    sites: int
    mistakes: dict[str, MakeTrainer]

    @property
    def runs(self) -> bool:
        """Whether each site is a run of its own, to be judged by the rates of finding."""
        return len(self.canaries) == 1


def settings() -> tuple[Setting, ...]:
    """Those of the study: three with very many canaries in one run, two with very many runs of one canary."""
    everybody = audit_plan(canaries=1000, noise_multiplier=2.0, delta=1e-6)
    sampled = audit_plan(canaries=1000, noise_multiplier=1.3, delta=1e-6, batch_share=0.05)
    tasks = audit_plan(canaries=500, noise_multiplier=2.0, delta=1e-6, tasks=16)
    alone = audit_plan(canaries=1, noise_multiplier=1.0, delta=1e-2)
    drawn = audit_plan(canaries=1, noise_multiplier=1.0, delta=1e-2, ordinary=10, batch_share=0.1)
    no_sample: dict[str, MakeTrainer] = {"full batches": FullBatches}
    return (
        Setting("everybody in each step", Canaries(everybody), 64, {"half the noise": HalfTheNoise}),
        Setting("Poisson samples", Canaries(sampled), 8, no_sample | {"fixed batch": FixedBatch}),
        Setting("16 tasks", Canaries(tasks), 8, {"clipped by task": ClippedByTask}),
        Setting("runs, everybody in each step", Canaries(alone), 4_000, {"half the noise": HalfTheNoise}),
        Setting("runs, Poisson samples", Canaries(drawn, ordinary=10), 400, no_sample),
    )


def refuted(setting: Setting, played: Played) -> tuple[float, float]:
    """Epsilon that a run of the setting refutes, and the most that it could have."""
    judge: Callable[..., Any] = repeated.audited if setting.runs else bound.audited
    found = judge(played.scores, played.inside, delta=played.delta)
    return found.epsilon, found.ceiling


def rows(setting: Setting, *, repetitions: int, seed: int = 0) -> list[dict[str, Any]]:
    """One row for the honest mechanism and one for each mistake: epsilon claimed, refuted on average, and how often.

    caught: share of the repetitions in which more than the claimed epsilon was refuted. half_width: of a 95 % interval
    of `refuted`, from the spread over repetitions; 0 for one of them.
    """
    result = []
    for mistake, trainer in ({HONEST: PrivateTrainer} | setting.mistakes).items():
        each = [
            play(setting.canaries, sites=setting.sites, seed=seed + number, trainer=trainer)
            for number in range(repetitions)
        ]
        judged = [refuted(setting, played) for played in each]
        values, claimed = [epsilon for epsilon, _ in judged], each[0].epsilon
        result.append(
            {
                "setting": setting.name,
                "mistake": mistake,
                "canaries": setting.sites * len(setting.canaries),
                "delta": each[0].delta,
                "claimed": claimed,
                "refuted": mean(values),
                "half_width": 1.96 * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0,
                "largest": max(values),
                "ceiling": mean(ceiling for _, ceiling in judged),
                "caught": mean(float(value > claimed) for value in values),
                "repetitions": repetitions,
            }
        )
    return result


def table(*, repetitions: int = 20, seed: int = 0) -> list[dict[str, Any]]:
    """`rows` of all settings."""
    return [row for setting in settings() for row in rows(setting, repetitions=repetitions, seed=seed)]
