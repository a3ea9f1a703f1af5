"""What a site's noised releases cost a patient, and how many more are affordable.

Events say whom they are about (`Spent`): no patient is in two sets of one split, so what was spent on different sets of
one split does not add up for anybody; what was spent under different splits does.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from math import prod

from common.privacy.composition import Account, account_of, composed_epsilon, interval_of
from common.privacy.events import Gaussian, Spent
from common.privacy.search import first_above

_CHOICES = 729  # of one set per split; beyond, all events are composed as if about the same patient


def epsilon(spent: Iterable[Spent], *, delta: float) -> float:
    """Epsilon at `delta` of all noised events together, for the patient whom they cost most; 0 without any.

    What left without noise is not in it: whoever shows this number says beside it whether there was any.
    The largest over the choices of one set per split; with more than 729 choices all events are composed, which is an
    upper bound. Infinite where a multiplier is 0. Never below the true epsilon, and above it by less than 1e-3.
    """
    sets = [tuple(of.values()) for of in _sets(spent).values()]
    return max(composed_epsilon(account, delta) for account in _choices(sets))


def affordable(spent: Iterable[Spent], more: Spent, *, epsilon: float, delta: float, most: int) -> int:
    """How many further releases like `more` keep the account at or below `epsilon`: 0 to `most`.

    An event without noise has no price here: as many as asked. An account that is already above affords nothing, be it
    over patients of another set. The answer is remembered as the total of such releases that fits: the question of the
    next round, with one more of them in `spent`, is answered without computing.
    """
    if most <= 0 or not isinstance(more.event, Gaussian) or more.event.count < 1:
        return max(most, 0)
    event, others, had = more.event, [], 0
    for one in spent:
        same = (one.split, one.rows) == (more.split, more.rows)
        if same and isinstance(one.event, Gaussian) and _kind(one.event) == _kind(event):
            had += one.event.count
        else:
            others.append(one)
    sets = _sets(others)
    own = sets.pop(more.split, {})
    rest = [tuple(of.values()) for of in sets.values()]
    beside, elsewhere = own.pop(more.rows, ()), tuple(own.values())
    if elsewhere and any(composed_epsilon(account, delta) > epsilon for account in _choices([*rest, elsewhere])):
        return 0
    total = _power_of_four(had + most * event.count)
    for account in _choices([*rest, (beside,)]):
        total = _most(account, *_kind(event), total, epsilon, delta)
    return min(most, max(0, (total - had) // event.count))


@lru_cache(maxsize=4096)
def _most(account: Account, multiplier: float, probability: float, limit: int, target: float, delta: float) -> int:
    """How many releases, up to `limit`, fit beside `account`; -1 if it is above `target` by itself.

    The limit is lowered by factors of four until a quarter of it fits. On the grid that suits the limit the cost rises
    with the count. The grid of four times the limit, on which a longer run may have been found to fit, is tried too:
    what fits on either fits.
    """

    def joined(count: int) -> Account:
        return account_of((*account, (multiplier, probability, count)))

    def cost(count: int) -> float:
        return composed_epsilon(joined(count), delta, interval)

    interval = interval_of(joined(max(limit, 0)))
    if limit < 0 or cost(0) > target:
        return -1
    while cost(limit) <= target or cost(limit // 4) > target:
        if cost(limit) <= target:
            return limit
        if limit == 0:  # the account alone fitted on a finer grid than this one, and nothing beside it
            return 0
        limit //= 4
        interval = interval_of(joined(limit))
    total = first_above(cost, target, low=limit // 4, high=limit) - 1
    interval = interval_of(joined(4 * limit))
    if cost(total + 1) > target:
        return total
    return limit if cost(limit) <= target else first_above(cost, target, low=total + 1, high=limit) - 1


def _kind(event: Gaussian) -> tuple[float, float]:
    return event.noise_multiplier, event.sampling_probability


def _power_of_four(count: int) -> int:
    """The next one that is not below `count`."""
    power = 1
    while power < count:
        power *= 4
    return power


def _sets(spent: Iterable[Spent]) -> dict[str, dict[str, Account]]:
    """The account of the noised events about each set of each split."""
    sets: dict[str, dict[str, list[tuple[float, float, int]]]] = defaultdict(lambda: defaultdict(list))
    for one in spent:
        if isinstance(one.event, Gaussian):
            event = one.event
            sets[one.split][one.rows].append((event.noise_multiplier, event.sampling_probability, event.count))
    return {split: {rows: account_of(parts) for rows, parts in of.items()} for split, of in sets.items()}


def _choices(sets: list[tuple[Account, ...]]) -> list[Account]:
    """The accounts of all choices of one set per split; one account of everything where these are too many."""
    if prod(len(of) for of in sets) > _CHOICES:
        return [account_of(part for of in sets for account in of for part in account)]
    return sorted({account_of(part for account in choice for part in account) for choice in product(*sets)})
