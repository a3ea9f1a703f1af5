"""The settings that the grid chose, kept beside the study: the runs of the table need not choose again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConsiliumError
from common.files import read_bytes, write_atomic
from experiments.commit import ROOT
from experiments.privacy_cost.work import Chosen

FILE = ROOT / "examples" / "privacy-chosen.json"


@dataclass(frozen=True)
class Choice:
    """commit: of the code whose runs chose. settings: federation -> arm -> epsilon -> settings."""

    commit: str
    settings: dict[str, Chosen]


def write(choice: Choice, content: dict[str, Any], path: Path = FILE) -> None:
    """Keep `choice` with what it was made from. Raises ConsiliumError."""
    told = {"commit": choice.commit, "from": _asked(content), "settings": choice.settings}
    write_atomic(path, (json.dumps(told, indent=1) + "\n").encode())


def read(content: dict[str, Any], path: Path = FILE) -> Choice:
    """What was chosen for the study `content`. Raises ConsiliumError where that is missing or was another's choice."""
    told = json.loads(read_bytes(path))
    if told["from"] != _asked(content):
        raise ConsiliumError(f"{path}: was chosen for another study than examples/privacy.toml; `make privacy-choice`.")
    settings = {
        name: {arm: {epsilon: tuple(each) for epsilon, each in of.items()} for arm, of in arms.items()}
        for name, arms in told["settings"].items()
    }
    return Choice(told["commit"], settings)


def _asked(content: dict[str, Any]) -> dict[str, Any]:
    """All that a choice depends on beside the code: everything in the study but the table's own seeds."""
    return {key: value for key, value in content.items() if key != "seeds"}
