"""FedAvg as Flower has it, over three sites; writes down when each round ended."""

import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

SITES = 3

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Training alone, no evaluation: one exchange in a round."""
    config = context.run_config

    def note(number: int, arrays: ArrayRecord) -> None:
        with open(Path(str(config["times"])), "a") as file:
            file.write(f"{time.time()}\n")

    model = np.random.default_rng(0).normal(size=int(config["parameters"])).astype(np.float32)
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=SITES, min_available_nodes=SITES)
    strategy.start(grid, ArrayRecord({"model": Array(model)}), int(config["rounds"]), evaluate_fn=note)
