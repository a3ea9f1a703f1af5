"""A round in our deployment against one in stock Flower: three sites with torch loaded, everything over TLS.

Ours is the whole of it: gateway with mutual TLS, SuperLink, SuperExec, and three hospitals with supervisor, SuperNode
and warm runner. Its round is a real one (policy, one training step on some 25 patients, clipping, ledger, receipt,
sum, step, journal). Stock Flower's round does nothing: SuperLink and SuperNodes as they come, without a gateway, and a
client that imports torch and sends back what it got. Runs of stock Flower and of ours (open, then secure) take turns;
the first round of each run is not counted. A ratio is that of the medians of two neighbouring runs.

Beside the ratio: seconds of processor time in a round, of all processes together, which depend less on what else the
machine does; bytes between one site and the coordinator in a round, counted where they pass (TLS included, what is
asked in vain too), beside twice the model's size in float32; and the most memory that a site holds some seconds after
a run: supervisor, SuperNode and runner.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.deployment_block import Block
from benchmarks.deployment_ours import Ours
from benchmarks.deployment_stock import Stock
from benchmarks.measure import Ratio
from common.errors import ConsiliumError

CASES = ((1_000, 10, 3), (1_000_000, 8, 3), (10_000_000, 4, 2))
"""Parameters, and counted rounds of ours and of stock Flower in a run."""
PAIRS, REST_S = 3, 10.0


def run() -> Iterator[Ratio]:
    """For each size one ratio of a round in the open and one of a secure round. Raises ConsiliumError without nginx."""
    if shutil.which("nginx") is None:
        raise ConsiliumError("benchmarks deployment: no nginx is installed; the gateway of our deployment is one.")
    with TemporaryDirectory() as folder:
        places = [Path(folder, name) for name in ("ours", "stock")]
        for place in places:
            place.mkdir()
        ours, stock = Ours(places[0]), Stock(places[1])
        try:
            stock.start()
            ours.start()
            for parameters, our_rounds, stock_rounds in CASES:
                yield from compare(ours, stock, parameters, our_rounds, stock_rounds, pairs=PAIRS)
        finally:
            ours.stop()
            stock.stop()


def compare(
    ours: Ours, stock: Stock, parameters: int, our_rounds: int, stock_rounds: int, *, pairs: int
) -> tuple[Ratio, Ratio]:
    """A round in the open, and a secure one, against one of stock Flower; `pairs` runs of each, in turn."""
    blocks: dict[str, list[Block]] = {"stock": [], "open": [], "secure": []}
    rest_mb: dict[str, float] = {}
    for _ in range(pairs):
        blocks["stock"].append(stock.rounds(parameters, stock_rounds))
        for kind in ("open", "secure"):
            blocks[kind].append(ours.rounds(parameters, our_rounds, secure=kind == "secure"))
            time.sleep(REST_S)
            rest_mb[kind] = max(rest_mb.get(kind, 0.0), *(sum(each.values()) for each in ours.at_rest().values()))
    first, second = (_ratio(kind, parameters, blocks, rest_mb[kind]) for kind in ("open", "secure"))
    return first, second


def _ratio(kind: str, parameters: int, blocks: dict[str, list[Block]], rest_mb: float) -> Ratio:
    ours, stock = blocks[kind], blocks["stock"]
    ratios = sorted(a.median_s / b.median_s for a, b in zip(ours, stock, strict=True))
    passed = median(block.passed.up + block.passed.down for block in ours)
    used, theirs = (median(block.processor_s for block in each) for each in (ours, stock))
    words = "in the open" if kind == "open" else "secure"
    note = (
        f"processor time {used:.2f} s against {theirs:.2f} s; {passed:,.0f} bytes per site, "
        f"{passed / (8 * parameters):.3f} of 2 x 4 x parameters; {rest_mb:.0f} MB at rest"
    )
    medians = median(block.median_s for block in ours), median(block.median_s for block in stock)
    name = f"round {words}, {parameters:,} parameters / stock Flower's"
    return Ratio(name, *medians, median(ratios), ratios[0], ratios[-1], len(ratios), note)
