"""How much privacy a hospital is willing to spend, and whether one more release fits."""

from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import Refusal
from common.privacy.events import Gaussian, Spent


@dataclass(frozen=True)
class Budget:
    """What policy.toml grants. Epsilons at `delta` of all noised releases together; None sets no limit.

    rounds_per_study: `limits.max_rounds`, which also counts what has no noise and therefore no epsilon.
    """

    epsilon_per_study: float | None
    epsilon_per_year: float | None
    delta: float
    rounds_per_study: int | None = None


@dataclass(frozen=True)
class Limit:
    """One account with its limit. name: whose it is, for people. spent: what is on it already."""

    name: str
    epsilon: float
    spent: tuple[Spent, ...]


def merged(spent: Iterable[Spent]) -> list[Spent]:
    """The same releases, equal ones counted together: the account of a long run is then as short as that of a round.

    Without noise there is nothing to count: such a release stands once.
    """
    counts: dict[Spent, int] = {}
    for one in spent:
        single, count = one, 1
        if isinstance(one.event, Gaussian):
            event = Gaussian(one.event.noise_multiplier, one.event.sampling_probability)
            single, count = Spent(event, one.split, one.rows), one.event.count
        counts[single] = counts.get(single, 0) + count
    return [_times(one, count) for one, count in counts.items()]


def check_limit(limit: Limit, more: Spent, *, delta: float, times: int = 1) -> None:
    """Raises Refusal `budget_exceeded` unless `times` further releases like `more` fit; without noise all do."""
    left = rounds_left(limit, more, delta=delta, most=times)
    if left < times:
        raise Refusal(
            "budget_exceeded",
            f"the budget of {limit.name}, epsilon {limit.epsilon:g} at delta {delta:g}, has {left} such "
            f"release{'' if left == 1 else 's'} left, and {times} would be made; policy.toml holds it.",
        )


def check_rounds(rounds: int, *, most: int | None) -> None:
    """rounds: of training, in a study so far and with the one asked for. Raises Refusal `too_many_rounds`."""
    if most is not None and rounds > most:
        raise Refusal("too_many_rounds", f"round {rounds} of this study; limits.max_rounds allows {most}.")


def rounds_left(limit: Limit, more: Spent, *, delta: float, most: int) -> int:
    """How many further releases like `more` fit, 0 to `most`."""
    if not isinstance(more.event, Gaussian):
        return most
    from common.privacy.accounting import affordable  # the accountant takes long to import, and not every site needs it

    return affordable(limit.spent, more, epsilon=limit.epsilon, delta=delta, most=most)


def _times(one: Spent, count: int) -> Spent:
    if not isinstance(one.event, Gaussian):
        return one
    event = Gaussian(one.event.noise_multiplier, one.event.sampling_probability, count)
    return Spent(event, one.split, one.rows)
