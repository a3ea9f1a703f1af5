"""What of a finished model is a site's own: its scaling of features and its heads, kept beside the shared model.

The model file stays the one that all sites have, so that it can be handed on; elsewhere it works with pooled scaling.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from client.at_rest.files import MODEL, Vaulted
from client.at_rest.key import vaulted
from client.config import SiteConfig
from client.site_rows import SiteRows
from common.errors import ConsiliumError
from common.files import exists
from common.model import Layout, SiteScaling
from common.model_file import ModelFile

PARTS = "parts.safetensors.enc"
_SCALING = ("count", "mean", "std")


@dataclass(frozen=True)
class SiteParts:
    """scaling: None with pooled scaling. own: float32, the parameters that stayed here; None where all are shared."""

    scaling: SiteScaling | None
    own: NDArray[np.float32] | None

    def of(self, model: ModelFile) -> ModelFile:
        """The shared `model` as this site uses it."""
        if self.scaling is not None:
            model = replace(model, normaliser=self.scaling.of(model.normaliser, model.plan))
        if self.own is None:
            return model
        parameters = model.parameters.copy()
        parameters[Layout(model.plan).local] = self.own
        taught = zip(model.plan.tasks, model.normaliser.task_available, strict=True)
        left_out = tuple(task.name for task, present in taught if not present)
        return replace(model, parameters=parameters, left_out=left_out)

    def to_bytes(self, model: bytes) -> bytes:
        """model: the file that they belong to."""
        arrays = {} if self.scaling is None else {name: getattr(self.scaling, name) for name in _SCALING}
        if self.own is not None:
            arrays["own"] = self.own
        return bytes(save(arrays, metadata={"model": hashlib.sha256(model).hexdigest()}))


def parts_of(rows: SiteRows, parameters: NDArray[np.float32]) -> SiteParts | None:
    """None where the whole model is shared. parameters: (D,) as this site uses them."""
    rules = rows.plan.model
    if not rules.keeps_parts:
        return None
    own = parameters[Layout(rows.plan).local] if rules.local else None
    return SiteParts(rows.scaling if rules.scaling == "site" else None, own)


def files_of(folder: Path, vault: Vaulted, model: bytes, parts: SiteParts | None) -> dict[Path, bytes]:
    """What a finished run leaves in a site's folder, encrypted: what is the site's own, then the shared model."""
    own = {} if parts is None else {folder / PARTS: vault.file(folder / PARTS, parts.to_bytes(model))}
    return own | {folder / MODEL: vault.file(folder / MODEL, model)}


def own_model(config: SiteConfig, data: bytes) -> ModelFile:
    """The model of the last run at this site as it is used there. data: that file, opened.

    Raises ConsiliumError where the site's parts of it are not there, are damaged, or belong to another model.
    """
    model, path = ModelFile.from_bytes(data, source=str(config.folder / MODEL)), config.folder / PARTS
    if not model.plan.model.keeps_parts:
        return model
    if not exists(path):
        raise ConsiliumError(f"{path}: no such file; the run that left {MODEL} here left it too, put it back.")
    kept = vaulted(config).read(path)
    try:
        parts, length = load(kept), int.from_bytes(kept[:8], "little")
        digest = json.loads(kept[8 : 8 + length])["__metadata__"]["model"]
        scaling = SiteScaling(*(parts[name] for name in _SCALING)) if model.plan.model.scaling == "site" else None
        own = parts["own"] if model.plan.model.local else None
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise ConsiliumError(f"{path}: is damaged; put back what was there.") from None
    if digest != hashlib.sha256(data).hexdigest():
        raise ConsiliumError(f"{path}: belongs to another model than {MODEL} beside it; put back the one of its run.")
    return SiteParts(scaling, own).of(model)
