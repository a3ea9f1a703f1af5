"""Rows that went wrong on purpose, to see whether the detector of `consilium site benefit` fires."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from client.at_rest.files import MODEL
from client.benefit.outlier import missing
from client.benefit.site import open_site, read_outputs
from client.config import SiteConfig
from client.predict import network_inputs
from client.site_rows import TEST
from common.model_file import ModelFile
from common.plan import Plan

Float32 = NDArray[np.float32]
Shift = Callable[[Float32, Plan, ModelFile, np.random.Generator], Float32]


def _numeric(plan: Plan) -> list[int]:
    return [index for index, feature in enumerate(plan.features) if feature.kind == "numeric"]


def _none(features: Float32, plan: Plan, model: ModelFile, random: np.random.Generator) -> Float32:
    return features


def _by(deviations: float, share: float) -> Shift:
    """Numeric features, or a random share of them, moved by so many pooled standard deviations, inside their range."""

    def shift(features: Float32, plan: Plan, model: ModelFile, random: np.random.Generator) -> Float32:
        moved, numeric = features.copy(), _numeric(plan)
        chosen = random.permutation(numeric)[: max(1, round(share * len(numeric)))]
        for index in chosen:
            low, high = plan.features[index].range or (-np.inf, np.inf)
            moved[:, index] = np.clip(features[:, index] + deviations * model.normaliser.std[index], low, high)
        return moved

    return shift


def _permuted(features: Float32, plan: Plan, model: ModelFile, random: np.random.Generator) -> Float32:
    """Each column in an order of its own: every value is usual, their company is not."""
    return np.stack([random.permutation(column) for column in features.T], axis=1)


def _gone(features: Float32, plan: Plan, model: ModelFile, random: np.random.Generator) -> Float32:
    """Half of what was recorded is missing."""
    return np.where(random.random(features.shape) < 0.5, np.float32(np.nan), features)


SHIFTS: dict[str, Shift] = {
    "as they are": _none,
    "all numbers +1 sd": _by(1.0, 1.0),
    "all numbers +2 sd": _by(2.0, 1.0),
    "a quarter of the numbers +3 sd": _by(3.0, 0.25),
    "columns permuted": _permuted,
    "half of the values missing": _gone,
}


def fired(config: SiteConfig, data: bytes) -> dict[str, tuple[float, float]]:
    """Shift -> share of the site's test rows called unlike the training rows, and called too empty.

    data: the site's model file, opened. The site must have its outputs.
    """
    finished = open_site(config)
    outputs, why = read_outputs(config, data)
    if outputs is None:
        raise ValueError(why or f"{config.folder / MODEL}: no outputs beside it")
    rows, model = finished.rows, finished.received
    test, hours = (part[rows.rows(TEST)] for part in (rows.table.features, rows.table.hours))
    result = {}
    for name, shift in SHIFTS.items():
        moved = shift(test, model.plan, model, np.random.default_rng(0))
        strange = outputs.detector.strange(network_inputs(model, moved, hours))
        result[name] = (float(strange.mean()), float(outputs.detector.gaps(missing(moved, hours)).mean()))
    return result
