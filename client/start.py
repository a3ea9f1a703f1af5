"""What has to be in order before a site's client starts; later it is asked again, message by message."""

import os
import stat
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from flwr.common.config import parse_config_args

from client.config import load_site
from client.data.objections import read_list
from client.policy.policy import load_policy
from client.secure.keys import load_signing_key
from common.errors import ConsiliumError, PlanError

_OPTION = "--node-config"


def site_of(arguments: Sequence[str]) -> Path:
    """The site.toml that a SuperNode's arguments name, as `--node-config 'site-config="FILE"'`. Raises PlanError."""
    given = [value for option, value in pairwise(arguments) if option == _OPTION]
    given += [each.removeprefix(f"{_OPTION}=") for each in arguments if each.startswith(f"{_OPTION}=")]
    for value in given:
        named = parse_config_args([value]).get("site-config")
        if isinstance(named, str):
            return Path(named)
    raise PlanError(f"{_OPTION} names no site; add {_OPTION} 'site-config=\"/path/to/site.toml\"'.")


def check_start(site: Path) -> None:
    """Raises ConsiliumError where site.toml, the policy, the key or the list of objections is wrong or missing.

    Also where somebody else could have written the policy, or could put files into the folder of keys.
    """
    config = load_site(site)
    load_policy(config.policy)
    load_signing_key(config)
    read_list(config)
    for path in (config.policy, config.keys):
        _check_writers(path)


def _check_writers(path: Path) -> None:
    """Raises ConsiliumError unless `path` belongs to this user or root, and nobody else may write it."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ConsiliumError(f"{path}: cannot be read: {error.strerror or error}.") from None
    own, mode = os.geteuid(), stat.S_IMODE(status.st_mode)
    if status.st_uid not in (own, 0):
        raise ConsiliumError(
            f"{path}: belongs to user {status.st_uid}; allowed is the user who runs the client ({own}), or root: "
            f"chown {own} {path}"
        )
    if mode & 0o022:
        raise ConsiliumError(
            f"{path}: has mode {mode:03o}, with which others may write it; allowed is only its owner: chmod go-w {path}"
        )
