"""The list of patients who object: `exclude_patients` under [data], and whether it is still the one that was read.

A file that is edited while the site runs stops it until it is started again: a list that is read while somebody writes
it could lack half of them. Who is on it is read with the tables (left_out.py).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from client.config import SiteConfig
from common.errors import PlanError, Refusal


@dataclass(frozen=True)
class Objections:
    """Who objects, as it is written. digest: SHA-256 in hexadecimal, of their file if they have one."""

    written: tuple[str, ...]
    digest: str


def read_list(config: SiteConfig) -> Objections:
    """A line of the file is one identifier. Raises PlanError, which shows no identifier, if it cannot be read."""
    named = config.exclude_patients
    if not isinstance(named, Path):
        return Objections(named, hashlib.sha256("\n".join(named).encode()).hexdigest())
    where = f"{config.source}: [data] exclude_patients names {named}, which"
    try:
        data = named.read_bytes()
        return Objections(tuple(data.decode("utf-8-sig").splitlines()), hashlib.sha256(data).hexdigest())
    except OSError as error:
        raise PlanError(f"{where} cannot be read: {error.strerror}; without it nobody knows who objects.") from None
    except UnicodeDecodeError:
        raise PlanError(f"{where} is not UTF-8 text; one identifier stands on each line.") from None


def check_unchanged(config: SiteConfig, digest: str) -> None:
    """Raises Refusal `policy_changed` unless the list is as it was when this site's tables were read.

    digest: of the list without which they were read. The code is that of an edited policy: whoever knows when a patient
    left may look for the difference.
    """
    try:
        same = read_list(config).digest == digest
    except PlanError:
        same = False
    if not same:
        named = config.exclude_patients if isinstance(config.exclude_patients, Path) else config.source
        text = f"{named}: has another list of patients who object than the site read its tables with; start it again."
        raise Refusal("policy_changed", text)
