"""The site's own book: one line for every release, written before it leaves, and what may be asked again.

A run that was cut off asks its last steps again, word for word; the answers are the same bits and reveal nothing new. A
*different* question for a step that was already answered is how a coordinator would take differences, so a site answers
only a few of those.
"""

import json
import os
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.errors import Refusal
from common.files import drop_torn_line

BOOK = "releases.jsonl"
DIFFERENT_QUESTIONS = 3


@dataclass(frozen=True)
class Step:
    """A place in a run: message kind, round (0 outside training) and stage."""

    plan_hash: str
    kind: str
    round: int
    stage: int


@dataclass(frozen=True)
class Entry:
    """One release. request, sha256: digests of what was asked and of what left. details: norms and the like."""

    step: Step
    request: str
    release: str
    bytes: int
    sha256: str
    details: dict[str, Any] = field(default_factory=dict)


class Book:
    """The book of one site folder. One process at a time writes it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / BOOK
        self._asked: dict[Step, set[str]] = defaultdict(set)
        drop_torn_line(self._path)
        for entry in read_book(folder):
            self._asked[Step(**entry["step"])].add(entry["request"])

    def check(self, step: Step, request: str) -> None:
        """Raises Refusal `asked_too_often` for one more different question about the same step."""
        asked = self._asked[step]
        if request not in asked and len(asked) >= DIFFERENT_QUESTIONS:
            raise Refusal("asked_too_often", f"{len(asked)} different questions for {step} were answered already.")

    def write(self, entry: Entry, *, durable: bool = True) -> None:
        """Append before anything leaves; raises Refusal `cannot_record` if the disk does not take it.

        durable: on the disk when this returns. An answer of secure aggregation is there already, in the site's store.
        """
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(descriptor, "a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(entry)) + "\n")
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        except OSError as error:
            raise Refusal("cannot_record", f"{self._path}: cannot be written: {error.strerror or error}.") from None
        self._asked[entry.step].add(entry.request)


def read_book(folder: Path) -> list[dict[str, Any]]:
    """All entries of the book in `folder`, in order."""
    path = folder / BOOK
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
