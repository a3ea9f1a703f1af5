"""Local training against the loop of Flower's PyTorch quickstart: DataLoader, Module, loss.backward(), optimiser.

Same model, same rows, same batch size, same optimiser, one epoch on one core. Below 1 is faster than the quickstart.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Ratio, compare
from client.training.trainer import Trainer, TrainingSet
from common.losses import task_weights
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan, plan_from_dict

ROWS, FEATURES, TASKS = 8_192, 80, 9


def _plan(batch_size: int) -> Plan:
    features = [{"name": f"x{i}", "range": [-10, 10]} for i in range(FEATURES)]
    tasks = [{"name": f"t{i}", "label": f"y{i}"} for i in range(TASKS)]
    content = {
        "federation": {"name": "bench"},
        "data": {"patient": "p"},
        "features": features,
        "tasks": tasks,
        "training": {
            "local_epochs": 1,
            "min_local_steps": 1,
            "batch_size": batch_size,
            "l2_linear": 1.0,
            "l2_network": 1.0,
        },
    }
    return plan_from_dict(content, source="bench")


class _Module(nn.Module):
    """The same network as separate modules, as one would write it after the quickstart."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        inputs, hidden = layout.columns.inputs, layout.plan.model.hidden[0]
        self.encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(layout.plan.model.dropout))
        self.heads, self.linear = nn.Linear(hidden, TASKS), nn.Linear(inputs, TASKS, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.heads(self.encoder(inputs)) + self.linear(inputs)


def _quickstart(module: _Module, loader: DataLoader[tuple[Tensor, ...]], weights: Tensor) -> None:
    criterion = nn.BCEWithLogitsLoss(reduction="none")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.03, momentum=0.9, weight_decay=1.0 / ROWS)
    module.train()
    for inputs, labels in loader:
        known = ~labels.isnan()
        optimizer.zero_grad()
        cells = criterion(module(inputs), labels.nan_to_num(0.0))
        loss = (torch.where(known, cells, 0.0) * weights).sum() / len(inputs)
        loss.backward()
        optimizer.step()


def run() -> Iterator[Ratio]:
    """One ratio per batch size."""
    random = torch.Generator().manual_seed(0)
    for batch_size in (32, 256, 1024):
        plan = _plan(batch_size)
        layout = Layout(plan)
        inputs = torch.randn(ROWS, layout.columns.inputs, generator=random)
        labels = torch.randint(0, 2, (ROWS, TASKS), generator=random).float()
        labels[torch.rand(ROWS, TASKS, generator=random) < 0.05] = torch.nan
        normaliser = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
        trainer = Trainer(Network(layout, torch.device("cpu")), replace(normaliser, rows=ROWS))
        data, start = TrainingSet(inputs, labels), initial_parameters(layout, seed=0)
        weights = torch.from_numpy(task_weights(data.labelled))
        module = _Module(layout)
        loader = DataLoader(TensorDataset(inputs, labels), batch_size=batch_size, shuffle=True)
        yield compare(
            f"one epoch, batch {batch_size}: ours / Flower's quickstart loop",
            lambda t=trainer, s=start, d=data: t.train(s, d, generator=torch.Generator().manual_seed(1), rate=0.03),
            lambda m=module, ld=loader, w=weights: _quickstart(m, ld, w),
        )
