"""What a round costs beside the training: exchange, checks, sum and step in process, against the bare NumPy sum.

Sites answer with a prepared vector, so that only our own path is timed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.measure import Ratio, compare
from common.plan import Aggregation
from server.cohort import Cohort
from server.exchange import Question
from server.inprocess import InProcessGrid
from server.strategy import ServerStep
from server.sums import PlainSum


@dataclass(frozen=True)
class _Site:
    """Replies with the same vector each round."""

    vector: np.ndarray

    def app(self) -> ClientApp:
        app = ClientApp()

        @app.train()
        def train(message: Message, context: Context) -> Message:
            return Message(RecordDict({"arrays": ArrayRecord({"vector": Array(self.vector)})}), reply_to=message)

        return app


def run() -> Iterator[Ratio]:
    """One ratio per number of sites and parameters."""
    for parameters in (10_000, 1_000_000):
        for sites in (3, 30, 300):
            yield one(sites, parameters, pairs=3 if sites * parameters > 10**8 else 5)


def one(sites: int, parameters: int, *, pairs: int) -> Ratio:
    """A round of `sites` against the sum of as many float32 vectors of length `parameters`."""
    random = np.random.default_rng(0)
    vector = random.normal(size=parameters).astype(np.float32)
    vectors = [vector.copy() for _ in range(sites)]
    grid = InProcessGrid(_Site(vector).app(), [{} for _ in range(sites)])
    names = {node: f"site{node}" for node in grid.get_node_ids()}
    sums = PlainSum(grid, Cohort(names, {}), timeout_s=600.0)
    step, moved = ServerStep(Aggregation()), np.ones(parameters, dtype=bool)
    model = np.zeros(parameters, dtype=np.float32)
    question = Question("train", "0" * 64, 1, 0, model)

    def one_round() -> None:
        total = sums.collect(question, size=parameters, min_sites=sites, plausible=_any)
        step.apply(1, model, total.total / sites, moved)

    def bare() -> np.ndarray:
        return np.sum(vectors, axis=0, dtype=np.float64)

    return compare(f"round of {sites} sites, {parameters:,} parameters / NumPy sum", one_round, bare, pairs=pairs)


def _any(site: str, vector: np.ndarray) -> bool:
    return True
