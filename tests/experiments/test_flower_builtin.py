"""Flower's built-in SecAgg+ gives up one hospital's update to a server that lies, and not to one that does not."""

from collections.abc import Callable

import numpy as np
import pytest

from experiments.attacks.flower_builtin import ATTACKS, FlowerAttack
from experiments.attacks.flower_clients import CLIP, ENTRIES, LEVELS, NODES, Hospitals

attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)


@attack
def test_a_lying_server_recovers_the_exact_update(attack: Callable[..., FlowerAttack]) -> None:
    found = attack()
    assert found.name.replace(" ", "_") == attack.__name__
    assert found.succeeded
    assert f"{ENTRIES:,} of {ENTRIES:,}" in found.what


@attack
def test_the_same_driver_without_the_lie_recovers_nothing(attack: Callable[..., FlowerAttack]) -> None:
    found = attack(honest=True)
    assert not found.succeeded
    assert f"Recovered 0 of {ENTRIES:,}" in found.what or "refused" in found.what


def test_the_truth_is_what_flower_quantises() -> None:
    from flwr.common.secure_aggregation.quantization import quantize

    hospitals = Hospitals()
    for node in NODES:
        truth = hospitals.true_update(node)
        update = ((truth - LEVELS // 2) * (2 * CLIP / LEVELS)).astype(np.float32)
        assert np.array_equal(quantize([update], CLIP, LEVELS)[0], truth)
        assert len(np.unique(truth)) > ENTRIES / 2
