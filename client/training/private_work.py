"""A round of training under patient-level differential privacy: noised already, or going to be so in a sum."""

import numpy as np

from client.release import Update
from client.request import Request
from client.session import Session
from client.training.private_trainer import PrivateTrainer
from common.broadcast import Broadcast
from common.schedule import learning_rate

NO_TALLIES = np.zeros(0)


def train(session: Session, request: Request, received: Broadcast, weights: np.ndarray) -> Update:
    """An update of which every step was noised; or, in pooled steps, one summed gradient without noise yet.

    weights: (D,) float32, declared level of each parameter's block. The gradient carries no level: it is a sum over
    patients, to which the door adds this site's share of the noise.
    """
    plan, mechanism = session.plan, session.mechanism
    data = session.patient_set(received.normaliser)
    random = session.randomness.source("train", plan.hash, request.round)
    trainer = PrivateTrainer(session.network, received.normaliser, random)
    if plan.privacy.pooled_steps:
        gradient = trainer.gradient(received.parameters, data, sampling_probability=mechanism.sampling_probability)
        return Update(gradient, (weights > 0).astype(np.float32), NO_TALLIES)
    trained = trainer.train(
        received.parameters,
        data,
        noise_multiplier=mechanism.noise_multiplier,
        sampling_probability=mechanism.sampling_probability,
        steps=mechanism.steps_per_round,
        rate=learning_rate(plan.training, request.round),
    )
    return Update(trained - received.parameters, weights, NO_TALLIES)
