"""Where the stub app is whose hash this hospital approves: what the coordinator ships has to be this, to the byte."""

import sys
from pathlib import Path

import client
from common.errors import ConsiliumError


def find_app(given: Path | None) -> Path:
    """The folder `given`, or the one that was installed with the program. Raises ConsiliumError."""
    if given is not None:
        if not (given / "pyproject.toml").is_file():
            raise ConsiliumError(f"{given}: is not the stub app; expected the folder deploy/flower_app of the release.")
        return given.absolute()
    beside = Path(client.__path__[0]).parent / "deploy" / "flower_app"
    installed = (Path(sys.prefix) / "share" / "consilium" / "flower_app", Path(sys.prefix) / "flower_app")
    for folder in (beside, *installed):
        if (folder / "pyproject.toml").is_file():
            return folder
    raise ConsiliumError(f"{beside}: no such folder; name the release's deploy/flower_app with --app.")
