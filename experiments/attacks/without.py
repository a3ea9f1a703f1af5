"""What an attack would come to if the one check that refuses it were not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from common.errors import Refusal, SumAborted
from common.secagg import checks
from experiments.attacks.registry import NOISE, Attack
from experiments.attacks.stage import Stage

Kind = Literal["succeeds", "refused", "useless", "error", "kept"]


@dataclass(frozen=True)
class Without:
    """kind: what became of it. by: the other check's code, where one refused. what: one sentence."""

    kind: Kind
    what: str
    by: str = ""


@contextmanager
def without(code: str) -> Iterator[list[str]]:
    """Skip the check `code` wherever it stands; yields a list that grows each time it would have refused."""
    original, skipped = checks.require, list[str]()

    def require(condition: bool, found: str, text: str, **more: str) -> None:
        if found != code:
            original(condition, found, text, **more)
        elif not condition:
            skipped.append(text)

    checks.require = require  # type: ignore[assignment]
    try:
        yield skipped
    finally:
        checks.require = original


def run_without(attack: Attack) -> Without:
    """One run against a fresh federation, without the attack's guard."""
    if attack.guard == NOISE:
        return Without("kept", "Rests on no single check.")
    with without(attack.guard) as skipped:
        try:
            measured = attack.play(Stage())
        except Refusal as refusal:
            if not skipped:
                return Without("kept", "A rule of the site's store, not a check that can be taken out.")
            return Without("refused", f"Refused by `{refusal.code}`.", refusal.code)
        except SumAborted:
            return Without("refused", "The coordinator aborts the sum.", "sum_aborted")
        except (KeyError, IndexError, ValueError, TypeError) as error:
            return Without("error", f"The site stops with an error ({type(error).__name__}) and answers nothing.")
    if measured is None:
        return Without("succeeds", "**Goes through.**")
    if measured.worthless:
        return Without("useless", measured.what)
    return Without("succeeds", f"**{measured.what}**")
