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
            if sites * parameters > 100_000_000:
                continue  # 300 sites of a million float64 would need more memory than a laptop has
            random = np.random.default_rng(0)
            vector = random.normal(size=parameters).astype(np.float32)
            vectors = [vector.copy() for _ in range(sites)]
            grid = InProcessGrid(_Site(vector).app(), [{} for _ in range(sites)])
            names = {node: f"site{node}" for node in grid.get_node_ids()}
            sums = PlainSum(grid, Cohort(names, {}), timeout_s=60.0)
            step, moved = ServerStep(Aggregation()), np.ones(parameters, dtype=bool)
            model = np.zeros(parameters, dtype=np.float32)

            def one_round(s=sums, d=parameters, n=sites, st=step, mo=model, mv=moved) -> None:
                total = s.collect(Question("train", "0" * 64, 1, 0, mo), size=d, min_sites=n)
                st.apply(1, mo, total.total / n, mv)

            def bare(vs=vectors) -> np.ndarray:
                return np.sum(vs, axis=0, dtype=np.float64)

            yield compare(f"round of {sites} sites, {parameters:,} parameters / NumPy sum", one_round, bare, pairs=5)
