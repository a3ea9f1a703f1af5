"""The operator's side of Flower: its environment, its connection to the SuperLink of a coordinator's folder, `flwr`."""

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from common.errors import ConsiliumError, RunError
from common.files import own_folder, write_atomic
from server.network.home import Home

CONNECTION, COMMAND_S, HEALTH_S = "here", 120.0, 3.0
BIN = Path(sys.executable).parent


class FlowerFailed(RunError):
    """A `flwr` command failed, or did not come back."""


def environment(home: Home) -> dict[str, str]:
    """For every process of Flower's: no telemetry, no update check, no installing of what an app asks for."""
    return os.environ | {
        "FLWR_HOME": str(home.state / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",  # SuperExec starts `flwr-serverapp` by name
    }


def link_address(home: Home) -> str:
    """HOST:PORT of the SuperLink."""
    return f"{home.settings.link_host}:{home.settings.link_port}"


def connect(home: Home) -> None:
    """Write what `flwr` has to know to reach the SuperLink."""
    own_folder(home.state)
    own_folder(home.state / "flwr")
    authority = json.dumps(str(home.certificate("authority")))
    text = f'[superlink]\ndefault = "{CONNECTION}"\n[superlink.{CONNECTION}]\naddress = "{link_address(home)}"\n'
    write_atomic(home.state / "flwr" / "config.toml", f"{text}root-certificates = {authority}\n".encode())


def flwr(home: Home, *arguments: str, timeout_s: float = COMMAND_S) -> dict[str, Any]:
    """What a `flwr` command against this SuperLink says in JSON. Raises FlowerFailed with its own words."""
    words = [str(BIN / "flwr"), *arguments, "--format", "json"]
    try:
        done = subprocess.run(
            words,
            env=environment(home),
            cwd=home.state,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            start_new_session=True,  # a terminal's Ctrl-C or end is for whoever asked: a run that it begins is known
        )
    except subprocess.TimeoutExpired:
        raise FlowerFailed(f"flwr {arguments[0]}: no answer within {timeout_s:g} s.") from None
    except OSError as error:
        raise ConsiliumError(f"{words[0]}: cannot be started: {error.strerror or error}.") from None
    answer = _json(done.stdout)
    if done.returncode or not answer.get("success"):
        reason = str(answer.get("error-message") or (done.stdout + done.stderr).strip())
        raise FlowerFailed(f"flwr {arguments[0]} failed: {' '.join(reason.split())[-400:]}")
    return answer


def healthy(home: Home) -> bool:
    """Whether the SuperLink answers over TLS under its own name."""
    try:
        trust = ssl.create_default_context(cafile=str(home.certificate("authority")))
        with urllib.request.urlopen(f"https://{link_address(home)}/health", context=trust, timeout=HEALTH_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def nodes(home: Home) -> dict[int, str]:
    """Identifier -> status of every registered node: `online`, `offline`, `registered`."""
    listed = flwr(home, "supernode", "list", CONNECTION).get("nodes", [])
    return {int(node["node-id"]): str(node["status"]) for node in listed}


def _json(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text[text.index("{") :]))
    except ValueError:
        return {}
