"""`consilium site pause`: nothing leaves this hospital any more until a person says `resume`, also after a restart.

A file in the folder of keys, asked for at every message: no lock, no process and no coordinator has to answer for it.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from client.config import SiteConfig
from common.errors import Refusal
from common.files import replace_file, write_atomic

PAUSED, RESUMED = "PAUSED", "RESUMED"


def pause(config: SiteConfig) -> Path:
    """Put the brake on, or leave it on: its file. Raises ConsiliumError if that cannot be written."""
    path = _path(config)
    write_atomic(path, f"paused {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode(), private=True)
    return path


def resume(config: SiteConfig) -> bool:
    """Take the brake off; whether it was on. Raises ConsiliumError where the file cannot be moved out of the way."""
    if not is_paused(config):
        return False
    replace_file(_path(config), config.keys / RESUMED)
    return True


def is_paused(config: SiteConfig) -> bool:
    """Whether the brake is on: also where nobody can tell, for the folder may not be entered."""
    try:
        os.lstat(_path(config))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def check(config: SiteConfig) -> None:
    """Raises Refusal `paused` while the brake is on."""
    if is_paused(config):
        raise Refusal("paused", f"{_path(config)}: this site is paused; `consilium site resume` lets it go on.")


def _path(config: SiteConfig) -> Path:
    return config.keys / PAUSED
