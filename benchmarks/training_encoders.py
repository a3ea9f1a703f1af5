"""Throughput of local training per encoder, beside the ceiling: matrix products (sgemm) on the same core.

One epoch of our trainer on synthetic rows of the shape of `examples/eicu.toml` and `examples/eicu-hourly.toml`; the MLP
on hourly summaries has mean, lowest, highest and last value of each hourly column as inputs, and no hourly tasks. The
reference is the time in which products of two square matrices of 1024 do as many multiply-adds, so 10 means a tenth of
the ceiling. Beside it the share of what products do at the shape of the encoder's largest product with that batch (same
operands each time, so they stay in the cache), measured in the same turns: what is missing there are smaller products
and all other operations. Seconds are those of the processor, which other work on the machine changes less; caches and
clock rate are still shared with it.

Multiply-adds are those of all matrix products, forward and backward, counted by torch's FlopCounterMode from one step;
an LSTM is counted in its plain form, because oneDNN's is one operation, and attention without leaving out later hours.
"""

import math
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Ratio, ratio_of, take_turns
from client.training.trainer import Float32, Trainer, TrainingSet
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan, plan_from_dict

ROWS, TURNS = 2_048, 9
BATCHES = (32, 256)
SQUARE = 1024
_REPEATED = 2**27  # multiply-adds of small products in one timing
_EXAMPLES = Path(__file__).parents[1] / "examples"
_SUMMARIES = ("mean", "min", "max", "last")

Shape = tuple[int, int, int]


def plan_of(encoder: str, batch: int) -> Plan:
    """encoder: 'table', 'summaries', or one of a sequence."""
    file = _EXAMPLES / ("eicu.toml" if encoder == "table" else "eicu-hourly.toml")
    content: dict[str, Any] = tomllib.loads(file.read_text())
    content["training"] = {"local_epochs": 1, "min_local_steps": 1, "batch_size": batch}
    if encoder == "summaries":
        hourly = content.pop("sequence")["features"]
        content["features"] += [{**one, "name": f"{one['name']}_{kind}"} for one in hourly for kind in _SUMMARIES]
        content["tasks"] = [task for task in content["tasks"] if task.get("kind") != "hourly"]
        content.pop("model")
    elif encoder != "table":
        content["model"] = {"encoder": encoder}
    return plan_from_dict(content, source=file.name)


@dataclass(frozen=True)
class Work:
    """A trainer and the rows of its plan's shape; one label in twenty is missing."""

    plan: Plan
    trainer: Trainer
    data: TrainingSet
    start: Float32

    @staticmethod
    def of(plan: Plan, rows: int) -> "Work":
        layout, random = Layout(plan), torch.Generator().manual_seed(0)
        inputs = torch.randn(rows, layout.columns.width, generator=random)
        width = len(plan.tasks) + len(plan.hourly) * plan.hours
        labels = torch.randint(0, 2, (rows, width), generator=random).float()
        labels[torch.rand(rows, width, generator=random) < 0.05] = torch.nan
        normaliser = Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan)
        trainer = Trainer(Network(layout, torch.device("cpu")), replace(normaliser, rows=rows))
        return Work(plan, trainer, TrainingSet(inputs, labels), initial_parameters(layout, seed=0))

    def epoch(self, rows: int | None = None) -> Float32:
        """Parameters after one epoch over the first `rows` rows, else all."""
        data = TrainingSet(self.data.inputs[:rows], self.data.labels[:rows])
        return self.trainer.train(self.start, data, generator=torch.Generator().manual_seed(1), rate=0.03)


class _Products(TorchDispatchMode):
    """Remembers the largest product of two matrices, (n, k) by (k, m), as (n, k, m)."""

    largest: Shape = (0, 0, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            left, right = args[-2:]
            self.largest = max(self.largest, (*left.shape, right.shape[1]), key=math.prod)
        return func(*args, **(kwargs or {}))


def multiply_adds(work: Work) -> tuple[float, Shape]:
    """Per row of a full batch, forward and backward; and the shape of the largest product."""
    batch = work.plan.training.batch_size
    with ExitStack() as held:
        held.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # on switching oneDNN, torch says that there is no Intel GPU
        held.enter_context(torch.backends.mkldnn.flags(enabled=False))
        held.enter_context(sdpa_kernel(SDPBackend.MATH))
        products = held.enter_context(_Products())
        counter = held.enter_context(FlopCounterMode(display=False))
        work.epoch(batch)
    return counter.get_total_flops() / 2 / batch, products.largest


def measure(name: str, plan: Plan) -> Ratio:
    """An epoch against as many multiply-adds of large products; the note has what was counted."""
    work = Work.of(plan, ROWS)
    each, shape = multiply_adds(work)
    square = (SQUARE, SQUARE, SQUARE)
    repeats = max(1, _REPEATED // math.prod(shape))
    runs = work.epoch, _product(square, 1), _product(shape, repeats)
    times = take_turns(*runs, turns=TURNS, clock=time.process_time)
    # From here on per turn: seconds of the epoch, and of as many multiply-adds at both shapes.
    large, own = (each * ROWS / count for count in (math.prod(square), math.prod(shape) * repeats))
    times = [(epoch, large * a, own * b) for epoch, a, b in times]
    seconds = [median(column) for column in zip(*times, strict=True)]
    epoch, ceiling, there = (2e-9 * each * ROWS / each_s for each_s in seconds)
    share, share_there = (median(time_s[i] / time_s[0] for time_s in times) for i in (1, 2))
    note = (
        f"{ROWS / seconds[0]:,.0f} samples per second and core, {each:,.0f} multiply-adds each; {epoch:.1f} GFLOP/s, "
        f"{share:.1%} of {ceiling:.0f}, and {share_there:.1%} of the {there:.0f} at {' x '.join(map(str, shape))}"
    )
    return ratio_of(name, [(epoch_s, large_s) for epoch_s, large_s, _ in times], note=note)


def _product(shape: Shape, repeats: int) -> Callable[[], Tensor]:
    """A function that multiplies (n, k) by (k, m) so many times."""
    rows, inside, columns = shape
    left, right, out = torch.randn(rows, inside), torch.randn(inside, columns), torch.empty(rows, columns)

    def multiply() -> Tensor:
        for _ in range(repeats):
            torch.mm(left, right, out=out)
        return out

    return multiply


NAMES = {
    "table": "MLP, table",
    "summaries": "MLP, hourly summaries",
    "tcn": "TCN",
    "lstm": "LSTM",
    "gru": "GRU",
    "attention": "attention",
}


def run() -> Iterator[Ratio]:
    """One ratio per encoder and batch size."""
    for batch in BATCHES:
        for encoder, words in NAMES.items():
            yield measure(f"{words}, batch {batch}: epoch / sgemm of as many", plan_of(encoder, batch))
