"""The coordinator's units for systemd start commands that there are, and know their exit statuses."""

import re
import signal
from pathlib import Path

import pytest

from common.errors import ConsiliumError
from server.drive_cli import PAUSED, SIGNALLED
from server.network.gateway_template import FILES
from tests.e2e.deployed import ROOT
from tests.server.network.conftest import Command


def _settings(name: str) -> dict[str, str]:
    unit = Path(ROOT, "deploy", "systemd", f"consilium-{name}.service")
    return dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["coordinator", "run"])
def test_a_unit_starts_a_command_that_is_understood(name: str, consilium: Command, tmp_path: Path) -> None:
    program, *words = _settings(name)["ExecStart"].split()
    assert program == "/opt/consilium/bin/consilium"
    folder = str(tmp_path / "none")
    with pytest.raises(ConsiliumError, match=f"^{folder}: is no coordinator's folder"):
        consilium(*(folder if word == "/srv/consilium/home" else word for word in words))


def test_the_run_is_not_started_again_after_a_stop_and_systemds_own_end_is_no_failure() -> None:
    run = _settings("run")
    assert run["RestartPreventExitStatus"].split() == ["2", str(PAUSED)]
    assert run["SuccessExitStatus"] == str(SIGNALLED + signal.SIGTERM)


def test_the_gateway_may_open_what_its_configuration_asks_for() -> None:
    assert int(_settings("coordinator")["LimitNOFILE"]) >= FILES
