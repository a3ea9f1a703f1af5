"""The operator's `flwr` commands against the SuperLink of this compose project."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

OPERATOR = Path("/operator")


class CommandFailed(SystemExit):
    """A `flwr` command failed; unless it is caught, its words are the last thing that this process says."""


def connect() -> None:
    """Give `flwr` the connection that setup wrote."""
    shutil.copy(OPERATOR / "config.toml", Path(os.environ["FLWR_HOME"]) / "config.toml")


def flwr(*arguments: str) -> dict[str, Any]:
    """What a `flwr` command says in JSON; raises CommandFailed."""
    done = subprocess.run(["flwr", *arguments, "--format", "json"], capture_output=True, text=True, check=False)
    answer = _json(done.stdout)
    if done.returncode or not answer.get("success"):
        reason = answer.get("error-message") or (done.stdout + done.stderr).strip()
        raise CommandFailed(f"flwr {' '.join(arguments)} failed: {reason}")
    return answer


def _json(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text[text.index("{") :]))
    except ValueError:
        return {}
