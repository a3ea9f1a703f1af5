"""Which hospitals take part in a cell: tables as they are, synthetic ones, or one table divided among many."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from client.config import SiteConfig, find_sites
from client.data.synthetic import hospitals, write_hospitals
from common.errors import PlanError
from common.plan.base import Section
from experiments.sweep.partition import Rule, divided

_BLOCK = 1 << 20


class Tables(Section):
    """Hospitals with tables of their own."""

    folder: str

    def digest(self, data: Path) -> str:
        return digest_of_sites(find_sites(data / self.folder))

    def draw(self, data: Path, place: Path, seed: int) -> list[SiteConfig]:
        """The sites. data: where `folder` is looked for. Nothing is drawn."""
        return find_sites(data / self.folder)


class Synthetic(Section):
    """`[synthetic]`: hospitals of the demo's kind, drawn anew for each seed."""

    sites: Annotated[int, Field(ge=1, le=1_000)] = Field(description="How many hospitals.")
    patients: Annotated[int, Field(ge=10)] | None = Field(
        default=None, description="Patients of each; without it as many as in the demo."
    )

    def digest(self, data: Path) -> str:
        return _digest_of_rules(self)

    def draw(self, data: Path, place: Path, seed: int) -> list[SiteConfig]:
        """The sites, written into the folder `place`."""
        write_hospitals(place, hospitals(self.sites, seed, patients=self.patients), seed=seed)
        return find_sites(place)


class Partition(Rule):
    """`[partition]`: one table, divided among virtual hospitals anew for each seed."""

    table: str = Field(description="A CSV or Parquet file, a path from --data.")
    patient: str = Field(description="Its column with the patient; all rows of one are at one hospital.")

    def digest(self, data: Path) -> str:
        return hashlib.sha256((_digest_of_rules(self) + digest_of_files([data / self.table])).encode()).hexdigest()

    def draw(self, data: Path, place: Path, seed: int) -> list[SiteConfig]:
        """The sites, one table each, written into the folder `place`. Raises PlanError for an unknown column."""
        path = data / self.table
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
        for column in (self.patient, *self.columns):
            if column not in frame:
                raise PlanError(f"{path}: has no column {column!r}, which [partition] names.")
        place.mkdir(parents=True, exist_ok=True)
        for name, rows in divided(frame, frame[self.patient].astype(str).to_numpy(), self, seed).items():
            frame.iloc[rows].to_csv(place / f"{name}.csv", index=False)
        return find_sites(place)


Hospitals = Tables | Synthetic | Partition


def digest_of_sites(sites: Iterable[SiteConfig]) -> str:
    """SHA-256 over every site's settings, wherever it lies, and the bytes of its tables and list of objections."""
    digest = hashlib.sha256()
    for site in sites:
        places = {"data": {"files", "labels", "hours", "exclude_patients"}}
        objections = site.exclude_patients
        listed, named = ((), [objections]) if isinstance(objections, Path) else (objections, [])
        settings = [site.model_dump(mode="json", exclude=places), sorted(listed)]
        digest.update(json.dumps(settings, sort_keys=True).encode())
        digest.update(digest_of_files([*site.tables, *named]).encode())
    return digest.hexdigest()


def digest_of_files(files: Iterable[Path]) -> str:
    """SHA-256 over names and bytes. Raises PlanError where one cannot be read."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"\0{path.name}\0".encode())
        try:
            with open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise PlanError(f"{path}: cannot be read: {error.strerror or error}.") from None
    return digest.hexdigest()


def _digest_of_rules(rules: Section) -> str:
    return hashlib.sha256(f"{type(rules).__name__} {rules.model_dump_json()}".encode()).hexdigest()
