"""A whole secure federation on a GPU against the same one on a CPU: training, evaluation, masks, report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client.config import SiteConfig, find_sites
from common.files import read_bytes
from common.model_file import ModelFile
from common.plan import Plan
from experiments.simulate import simulate

PER_PATIENT = {"unit": "patient", "target_epsilon": 8.0, "expected_patients": 60}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("privacy", [{}, PER_PATIENT], ids=["clipped", "per patient"])
def test_a_federation_of_gpus_comes_to_the_same_model(
    privacy: dict[str, Any], make_plan: Callable[..., Plan], write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    plan = make_plan(
        privacy=privacy,
        model={"hidden": [8], "dropout": 0.0},
        training={"rounds": 3, "batch_size": 90, "local_epochs": 1},
        aggregation={"secure": True, "min_sites": 3},
    )
    configs = find_sites(write_sites())
    on = {device: _run(plan, configs, device, tmp_path) for device in ("cpu", "cuda:0")}
    (model, result), (other, others) = on["cpu"], on["cuda:0"]
    assert np.allclose(model, other, rtol=1e-3, atol=1e-3)
    for task, found in result["tasks"].items():
        for measure, value in found["pooled"].items():
            assert others["tasks"][task]["pooled"][measure] == pytest.approx(value, rel=0.02, abs=0.02), (task, measure)


def _run(plan: Plan, configs: list[SiteConfig], device: str, out: Path) -> tuple[np.ndarray, dict[str, Any]]:
    folder = out / device.partition(":")[0]
    sites = [each.model_copy(update={"site": each.site.model_copy(update={"device": device})}) for each in configs]
    result = simulate(plan, sites, folder)
    return ModelFile.from_bytes(read_bytes(folder / "model.safetensors"), source=str(folder)).parameters, result
