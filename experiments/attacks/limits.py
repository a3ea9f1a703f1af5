"""What no check refuses: the known limits, played like the attacks, so that nobody has to guess how far they reach."""

from collections.abc import Callable

from common.secagg.session import Policy
from experiments.attacks.header import difference
from experiments.attacks.measure import Measured
from experiments.attacks.stage import Stage
from experiments.attacks.table import Limit


def other_survivors_allowed(stage: Stage) -> Measured:
    """Where sites set `other_survivors = 1`: a sum of all five, then the same model asked of four."""
    return difference(Stage(policy=Policy(other_survivors=1)))


def almost_the_same_model(stage: Stage) -> Measured:
    """A sum of all five, then a model that differs in one bit, asked of four.

    A site trains anew, so that its update differs a little; its tallies (label counts among them) do not.
    """
    return difference(stage, model=b"\1" + bytes(31))


LIMITS: tuple[Callable[[Stage], Measured], ...] = (other_survivors_allowed, almost_the_same_model)


def played() -> list[Limit]:
    """Every limit, each against a fresh federation."""
    return [Limit(" ".join((play.__doc__ or "").split()), play(Stage()).what) for play in LIMITS]
