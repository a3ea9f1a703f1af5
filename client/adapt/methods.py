"""The ways to learn a task from a few labels: with the trained encoder, frozen or not, from scratch, or linearly."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from client.adapt.choose import FOLDS, NETWORK_FOLDS, averaged_head, mean_penalty
from client.adapt.draws import folds, source, strata
from client.adapt.heads import Head
from client.adapt.material import Float32, Float64, Index, Material
from client.adapt.network import from_scratch, logits_of, moved
from common.model import Layout, Normaliser
from common.scores import scores_of_logits


@dataclass(frozen=True)
class Learnt:
    """logits: rows -> (rows, outputs) float32. scale: of a regression's label. settings: what cross-validation chose.

    parameters: of the network for the task alone, (D,) float32; None for what is no such network.
    """

    logits: Callable[[Index], Float32]
    scale: Normaliser
    settings: dict[str, float] = field(default_factory=dict)
    parameters: Float32 | None = None

    def scores(self, material: Material, rows: Index) -> Float32:
        """(rows, outputs) as in common.scores."""
        return scores_of_logits(torch.from_numpy(self.logits(rows)), self.scale, material.solo)


Method = Callable[[Material, Index, int], Learnt]


def frozen(material: Material, rows: Index, seed: int) -> Learnt:
    """`frozen_head`, worked out once for the same rows and seed: `unfrozen` begins with it."""
    key = (rows.tobytes(), seed)
    if key not in material.known:
        material.known.clear()
        material.known[key] = frozen_head(material, rows, seed)
    learnt: Learnt = material.known[key]
    return learnt


def frozen_head(material: Material, rows: Index, seed: int) -> Learnt:
    """A head on the trained encoder, which stays as it is, and on what the other tasks' heads say.

    Both are linear in what the network has already, so that the result is a head and a linear path like any other's.
    """
    z, centre, spread = _standard(material)
    inputs, shares = z, [1.0]
    if "linear.weight" in material.tensors:
        inputs, shares = np.concatenate([z, material.shown], axis=1), [1.0, 0.5, 0.0]
    scales = [_scale(inputs[material.train], z.shape[1], share) for share in shares]
    scale = material.normaliser(rows, of=material.model.normaliser.rows)
    head, weights = averaged_head(
        material.task, inputs[rows], scales, material.aims(rows, scale), _folds(material, rows, seed)
    )
    parameters = _as_network(material, head, centre, spread)
    return Learnt(
        lambda some: logits_of(material, parameters, some),
        scale,
        {"penalty": mean_penalty(weights), "learnt_features": float(weights.sum(axis=1) @ np.array(shares))},
        parameters,
    )


def unfrozen(material: Material, rows: Index, seed: int) -> Learnt:
    """The same as a start from which all of the network then moves."""
    start = frozen(material, rows, seed)
    if start.parameters is None:
        raise ValueError("a frozen encoder has parameters")
    fold = _folds(material, rows, seed, NETWORK_FOLDS)
    parameters, chosen = moved(material, start.parameters, rows, fold, seed)
    return Learnt(lambda some: logits_of(material, parameters, some), start.scale, start.settings | chosen, parameters)


def scratch(material: Material, rows: Index, seed: int) -> Learnt:
    """The same network, begun anew."""
    parameters, chosen = from_scratch(material, rows, _folds(material, rows, seed, NETWORK_FOLDS), seed)
    scale = material.normaliser(rows, of=len(rows))
    return Learnt(lambda some: logits_of(material, parameters, some), scale, chosen, parameters)


def regression(material: Material, rows: Index, seed: int) -> Learnt:
    """L2 logistic regression (ridge for a quantity) on `material.plain`; penalty as above."""
    inputs = material.plain
    scale = material.normaliser(rows, of=len(rows))
    scales = [_scale(inputs[material.train], 0, 0.0)]
    head, weights = averaged_head(
        material.task, inputs[rows], scales, material.aims(rows, scale), _folds(material, rows, seed)
    )
    return Learnt(lambda some: head(inputs[some]).astype(np.float32), scale, {"penalty": mean_penalty(weights)})


def _folds(material: Material, rows: Index, seed: int, most: int = FOLDS) -> Index:
    random = source(seed, len(rows), most)
    return folds(strata(material.task, material.labels[rows]), material.patients[rows], most, random)


def _scale(rows: Float64, learnt: int, share: float) -> Float64:
    """(d,) factors with which the variances of `rows`, (n, d), add up to `share` in the first `learnt` columns, and to
    the rest of 1 in the others."""
    variance = rows.var(axis=0)
    parts = [(variance[:learnt], share), (variance[learnt:], 1.0 - share)]
    return np.concatenate([np.full(len(part), np.sqrt(own / max(part.sum(), 1e-12))) for part, own in parts])


def _standard(material: Material) -> tuple[Float64, Float64, Float64]:
    """(z, mean, spread): encoder and trained outputs, standardised over all training rows, labelled or not."""
    features = np.concatenate([material.hidden, material.outputs], axis=1)
    mean, spread = features[material.train].mean(axis=0), features[material.train].std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    return (features - mean) / spread, mean, spread


def _as_network(material: Material, head: Head, centre: Float64, spread: Float64) -> Float32:
    """`head` as parameters of the network for the task alone: the trained encoders, one head, one linear path."""
    width, taught = material.hidden.shape[1], material.taught
    own = head.weight[: width + len(taught)] / spread[:, None]
    of_hidden, of_outputs = np.split(own, [width])
    of_inputs = head.weight[width + len(taught) :]
    tensors = material.tensors
    layout = Layout(material.solo)
    vector = np.zeros(layout.parameters, dtype=np.float32)
    parts = layout.split(vector)
    for name, part in parts.items():
        if not name.startswith(("heads.", "linear.")):
            part[:] = tensors[name]
    parts["heads.weight"][:] = of_hidden.T + of_outputs.T @ tensors["heads.weight"][taught]
    parts["heads.bias"][:] = head.bias - centre @ own + of_outputs.T @ tensors["heads.bias"][taught]
    if "linear.weight" in parts:
        parts["linear.weight"][:] = of_outputs.T @ tensors["linear.weight"][taught]
        if len(of_inputs):
            parts["linear.weight"][:] += of_inputs.T
    return vector
