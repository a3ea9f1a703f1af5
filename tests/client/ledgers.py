"""For tests of the site's ledger: what is written into one, and a short one on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.ledger.ledger import LEDGER, Entry, Ledger, Receipt, Step
from common.errors import Refusal
from common.privacy.events import Gaussian, Spent, Unnoised
from common.secagg.primitives import SigningKey

KEY, OTHER_KEY = SigningKey.from_bytes(b"k" * 32), SigningKey.from_bytes(b"o" * 32)
STEP = Step("ab" * 32, "train", 1, 0)
NOISED = Spent(Gaussian(1.0, 0.01, 20), "split-1", "train")
OPEN = Spent(Unnoised("levels"), "split-1", "train")
NOW = 1_800_000_000.0


def step(number: int) -> Step:
    return replace(STEP, round=number)


def entry(number: int = 1, *, spent: Spent = NOISED, study: str = "heart", **more: Any) -> Entry:
    return Entry(study, step(number), spent, "patient", "da" * 32, "90" * 32, {"norm": 0.25}, **more)


def receipt(number: int = 1, *, paid: int | None = None, left: bytes = b"", **more: Any) -> Receipt:
    digest = (left or bytes([number])).hex()
    fields = {"release": "update", "bytes": 1000 + number, "sha256": digest, "secure": True, "noise": "1 x sensitivity"}
    return Receipt("heart-federation", step(number), f"{number:064x}", entry=paid, **(fields | more))


def rounds(ledger: Ledger, numbers: range) -> None:
    """A release in each of the rounds, with its entry and its receipt."""
    for number in numbers:
        ledger.write_receipt(receipt(number, paid=ledger.spend(entry(number))))


def written(folder: Path, many: int = 5, **more: Any) -> Path:
    """A ledger with `many` rounds: record 1 names the key, then come an entry and a receipt for each."""
    path = folder / LEDGER
    with Ledger(path, KEY, **more) as ledger:
        rounds(ledger, range(1, many + 1))
    return path


def refused(code: str, call: Callable[..., object], *arguments: object, **more: object) -> str:
    """What `call` says when it refuses with this code: one line."""
    with pytest.raises(Refusal) as refusal:
        call(*arguments, **more)
    assert refusal.value.code == code, refusal.value
    assert "\n" not in str(refusal.value)
    return str(refusal.value)
