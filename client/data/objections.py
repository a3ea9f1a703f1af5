"""Patients who object: `exclude_patients` under [data]. They leave every table before anything is counted.

What was released before they objected cannot be taken back: a model that has learnt from a patient keeps it.
A file that is edited while the site runs stops it until it is started again: a list that is read while somebody writes
it could lack half of them.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from client.config import SiteConfig
from client.data.columns import patient_need, row_need
from client.data.files import identifiers
from common.errors import DataError, PlanError, Refusal
from common.plan import Plan


@dataclass(frozen=True)
class Objected:
    """What `leave_out` took out. unknown: identifiers that are in no table. keys: of the rows, in tables of labels."""

    rows: int = 0
    patients: int = 0
    unknown: int = 0
    keys: frozenset[str] = frozenset()


def read_objections(config: SiteConfig) -> frozenset[str]:
    """The identifiers as the tables' are read: without outer spaces, 12 for 12.0, and composed (NFC).

    A line of the file is one identifier, empty lines are none. Raises PlanError, which shows no identifier, if the file
    cannot be read.
    """
    return _listed(config)[0]


_left_out: dict[Path, str] = {}  # file -> digest of the list without which this process has read tables


def check_unchanged(config: SiteConfig) -> None:
    """Raises Refusal `policy_changed` unless the file is as it was when this site's tables were read.

    The code is that of an edited policy: whoever knows when a patient left may look for the difference.
    A list in site.toml itself needs none of this: where that file has changed, the site begins anew with the next
    message.
    """
    named = config.exclude_patients
    if not isinstance(named, Path) or named not in _left_out:
        return
    try:
        same = _listed(config)[1] == _left_out[named]
    except PlanError:
        same = False
    if not same:
        text = f"{named}: was edited or removed since this site read its tables; start the site again."
        raise Refusal("policy_changed", text)


def leave_out(frame: pd.DataFrame, config: SiteConfig, plan: Plan) -> tuple[pd.DataFrame, Objected]:
    """`frame` without the rows of patients who object. Raises PlanError, and DataError if none is left."""
    listed, digest = _listed(config)
    if isinstance(config.exclude_patients, Path):
        _left_out[config.exclude_patients] = digest
    if not listed:
        return frame, Objected()
    patient, key = patient_need(plan), row_need(plan) or patient_need(plan)
    mask = frame[patient.key].str.normalize("NFC").isin(listed)
    gone = frame[mask]
    if len(gone) == len(frame):
        raise DataError(f"{config.source}: no row is left of {len(frame)}; all are of patients who object.")
    found = set(map(_composed, gone[patient.key]))
    keys = frozenset(map(_composed, gone[key.key].dropna())) | (listed if key.key == patient.key else frozenset())
    return frame[~mask].reset_index(drop=True), Objected(int(mask.sum()), len(found), len(listed - found), keys)


def _composed(identifier: str) -> str:
    return unicodedata.normalize("NFC", identifier)


def _listed(config: SiteConfig) -> tuple[frozenset[str], str]:
    """The identifiers, and the SHA-256 of their file in hexadecimal; empty for a list."""
    named = config.exclude_patients
    lines, digest = _lines(config, named) if isinstance(named, Path) else (named, "")
    return frozenset(map(_composed, identifiers(lines))), digest


def _lines(config: SiteConfig, path: Path) -> tuple[Iterable[str], str]:
    where = f"{config.source}: [data] exclude_patients names {path}, which"
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig").splitlines(), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise PlanError(f"{where} cannot be read: {error.strerror}; without it nobody knows who objects.") from None
    except UnicodeDecodeError:
        raise PlanError(f"{where} is not UTF-8 text; one identifier stands on each line.") from None
