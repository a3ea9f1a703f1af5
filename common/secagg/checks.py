"""Every check of the protocol is one call of `require`, with a code of its own.

So a reader finds all checks by one search, a site's refusal names the check that failed, and the tests can remove one
check at a time and watch its attack go through.
"""

from collections.abc import Sequence
from itertools import pairwise

from common.errors import Refusal


def require(condition: bool, code: str, text: str, *, about: str = "") -> None:
    """Raises Refusal `code` unless `condition`; `text` stays in the log of whoever refuses.

    about: the site of the roster whose doing it is, where that can be told; its name may leave with the code.
    """
    if not condition:
        raise Refusal(code, text, about=about)


def strictly_sorted(names: Sequence[str]) -> bool:
    """Sorted and without repetition: the one form in which a list of sites may arrive."""
    return all(first < second for first, second in pairwise(names))
