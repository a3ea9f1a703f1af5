"""The network for the new task alone, trained by the site's own trainer: from nothing, or from the trained encoder."""

import numpy as np
import torch
from numpy.typing import NDArray

from client.adapt.choose import best_of
from client.adapt.heads import row_losses
from client.adapt.material import Float32, Float64, Index, Material
from client.adapt.task import alone
from client.training.trainer import Trainer, TrainingSet
from common.model import Layout, Network, initial_parameters
from common.plan import Plan
from common.schedule import learning_rate

_PENALTIES = (10.0, 1.0)  # times those of the plan
_PULLS = (1.0, 0.1, 0.01)  # weight of the squared distance to the start
_EPOCHS = 20


def logits_of(material: Material, parameters: Float32, rows: Index) -> NDArray[np.float32]:
    """(rows, outputs) of the network for the new task alone. parameters: as `Layout(material.solo)` lays them out."""
    with torch.no_grad():
        network = Network(Layout(material.solo), torch.device("cpu"))
        return np.asarray(network.logits(torch.from_numpy(parameters), material.inputs[torch.from_numpy(rows)]).numpy())


def from_scratch(material: Material, rows: Index, fold: Index, seed: int) -> tuple[Float32, dict[str, float]]:
    """Parameters after the plan's rounds on `rows` alone, and the penalty that was chosen, as a multiple of the plan's.

    Its inputs are scaled as the trained model's. fold: (rows,) for cross-validation. seed: of weights and batches.
    """
    rules = material.plan.training
    plans = {
        factor: alone(material.plan, l2_linear=factor * rules.l2_linear, l2_network=factor * rules.l2_network)
        for factor in _PENALTIES
    }

    def train(factor: float, chosen: Index) -> Float32:
        start = initial_parameters(Layout(plans[factor]), seed=seed)
        rates = [learning_rate(rules, number) for number in range(1, rules.rounds + 1)]
        return _train(material, plans[factor], start, chosen, rates, rows=len(chosen), seed=seed)

    factor = best_of(
        _PENALTIES, fold, lambda one, fit, judge: _losses(material, train(one, rows[fit]), rows, fit, judge)
    )
    return train(factor, rows), {"penalties_times": factor}


def moved(material: Material, start: Float32, rows: Index, fold: Index, seed: int) -> tuple[Float32, dict[str, float]]:
    """Parameters after some epochs from `start`, encoder and all, and how strongly they were held to it.

    What pulls them back is the squared distance to the start (Li, Grandvalet, Davoine 2018, "Explicit inductive bias
    for transfer learning", eq. 3); its weight is chosen by cross-validation. start: the frozen encoder with its head.
    """
    plans = {pull: alone(material.plan, proximal_mu=pull, local_epochs=_EPOCHS) for pull in _PULLS}

    def train(pull: float, chosen: Index) -> Float32:
        rates = [material.plan.training.learning_rate]
        return _train(material, plans[pull], start, chosen, rates, rows=material.model.normaliser.rows, seed=seed)

    def judge(pull: float, fit: Index, held: Index) -> Float64:
        return _losses(material, train(pull, rows[fit]), rows, fit, held)

    pull = best_of(_PULLS, fold, judge)
    return train(pull, rows), {"pull": pull}


def _train(
    material: Material, plan: Plan, start: Float32, chosen: Index, rates: list[float], *, rows: float, seed: int
) -> Float32:
    scale = material.normaliser(chosen, of=rows)
    labels = torch.from_numpy(material.labels[chosen])[:, None]
    data = TrainingSet(material.inputs[torch.from_numpy(chosen)], labels)
    trainer = Trainer(Network(Layout(plan), torch.device("cpu")), scale)
    generator = torch.Generator().manual_seed(seed)
    parameters = start
    for rate in rates:
        parameters = trainer.train(parameters, data, generator=generator, rate=rate)
    return parameters


def _losses(material: Material, parameters: Float32, rows: Index, fit: Index, held: Index) -> Float64:
    """(held,) losses of what was trained on `fit`, both places in `rows`."""
    logits = logits_of(material, parameters, rows[held]).astype(np.float64)
    return row_losses(material.task, logits, material.aims(rows[held], material.normaliser(rows[fit], of=1.0)))
