"""How a study that is run by `python -m` ends where a person can mend what is wrong: with one sentence."""

import sys
from collections.abc import Callable

from common.errors import ConsiliumError


def plainly(main: Callable[[], None]) -> None:
    """Run `main`; what it raises as ConsiliumError is told in its own words, with exit status 1."""
    try:
        main()
    except ConsiliumError as error:
        sys.exit(str(error))
