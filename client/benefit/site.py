"""A site whose run has come to its end: its rows, the model that it kept, and where its outputs go."""

import hashlib
import json
from dataclasses import dataclass

import torch

from client.at_rest.files import MODEL
from client.at_rest.key import vaulted
from client.benefit.outputs import OUTPUTS, SiteOutputs
from client.config import SiteConfig
from client.site_parts import own_model
from client.site_rows import SiteRows
from common.errors import ConsiliumError
from common.files import check_writable, exists, read_plan, write_set
from common.model_file import ModelFile

REPORT, PAGE = "benefit.json", "benefit.html"


@dataclass(frozen=True)
class Finished:
    """received: the model of the last run, as this site uses it. digest: SHA-256 of its file before it was sealed."""

    rows: SiteRows
    received: ModelFile
    digest: str


def open_site(config: SiteConfig) -> Finished:
    """Raises ConsiliumError where no run has come to its end here, or the site follows another plan by now.

    And where what is to be left here could not be written: that is told before the work, not after it.
    """
    path = config.folder / MODEL
    if not exists(path):
        raise ConsiliumError(f"{path}: no such file; a run that came to its end leaves the model there.")
    data = vaulted(config).read(path)
    received = own_model(config, data)
    if config.plan is not None and read_plan(config.plan).hash != received.plan.hash:
        raise ConsiliumError(
            f"{config.plan}: is another plan than that of {path}; benefit looks at the run of that model: name its "
            "plan, or wait until a run of this one has ended."
        )
    check_writable(*(config.folder / name for name in (OUTPUTS, PAGE, REPORT)))
    torch.set_num_threads(1)  # models of this size lose time to threads; one thread also fixes the order of sums
    return Finished(SiteRows(config, received.plan), received, hashlib.sha256(data).hexdigest())


def keep(config: SiteConfig, report: dict[str, object], page: str, outputs: SiteOutputs) -> None:
    """Write outputs, report and page into the site's folder; the report last, so that it says that all is there."""
    made = config.folder / OUTPUTS
    files = {
        made: vaulted(config).file(made, outputs.to_bytes()),
        config.folder / PAGE: page.encode(),
        config.folder / REPORT: json.dumps(report, indent=1, allow_nan=False).encode(),
    }
    write_set(files, private=True)


def read_outputs(config: SiteConfig, model: bytes) -> tuple[SiteOutputs | None, str | None]:
    """The outputs made for this very model, if there are any; or why those that are there are not used."""
    path = config.folder / OUTPUTS
    if not exists(path):
        return None, None
    found = SiteOutputs.from_bytes(vaulted(config).read(path), source=str(path))
    if found.model != hashlib.sha256(model).hexdigest():
        return None, f"{path}: was made for another model and is not used; consilium site benefit {config.folder}"
    return found, None
