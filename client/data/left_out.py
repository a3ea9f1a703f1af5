"""Patients who object leave every table before anything is counted.

What was released before they objected cannot be taken back: a model that has learnt from a patient keeps it.
"""

import unicodedata
from dataclasses import dataclass

import pandas as pd

from client.config import SiteConfig
from client.data.columns import key_need, patient_need
from client.data.files import identifiers
from client.data.objections import Objections, read_list
from common.errors import DataError
from common.plan import Plan


@dataclass(frozen=True)
class Objected:
    """What `leave_out` took out. unknown: identifiers that are in no table. keys: of the rows, in tables of labels.

    digest: of the list.
    """

    digest: str
    rows: int = 0
    patients: int = 0
    unknown: int = 0
    keys: frozenset[str] = frozenset()


def who_objects(objections: Objections) -> frozenset[str]:
    """The identifiers as the tables' are read: without outer spaces, 12 for 12.0, and composed (NFC). None is empty."""
    return frozenset(map(_composed, identifiers(objections.written)))


def leave_out(frame: pd.DataFrame, config: SiteConfig, plan: Plan) -> tuple[pd.DataFrame, Objected]:
    """`frame` without the rows of patients who object. Raises PlanError, and DataError if none is left."""
    objections = read_list(config)
    listed = who_objects(objections)
    if not listed:
        return frame, Objected(objections.digest)
    patient, key = patient_need(plan), key_need(plan)
    mask = frame[patient.key].str.normalize("NFC").isin(listed)
    gone = frame[mask]
    if len(gone) == len(frame):
        raise DataError(f"{config.source}: no row is left of {len(frame)}; all are of patients who object.")
    found = set(map(_composed, gone[patient.key]))
    keys = frozenset(map(_composed, gone[key.key].dropna())) | (listed if key.key == patient.key else frozenset())
    objected = Objected(objections.digest, int(mask.sum()), len(found), len(listed - found), keys)
    return frame[~mask].reset_index(drop=True), objected


def _composed(identifier: str) -> str:
    return unicodedata.normalize("NFC", identifier)
