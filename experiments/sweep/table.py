"""All figures of an experiment as one tidy table, the same to the last bit whenever it is made; and their means."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import RunError
from common.files import write_atomic
from common.intervals import over_splits
from experiments.sweep.cells import Cell, provenance
from experiments.sweep.experiment import Experiment, toml
from experiments.sweep.figures import finished

TABLE = "table.parquet"


def table_of(folder: Path, experiment: Experiment, cells: Sequence[Cell]) -> pd.DataFrame:
    """One row per cell, subject and measure: the factors, seed, subject, measure, value, cell.

    Cells in their order. Raises RunError where one was not finished.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells:
        found = finished(folder, cell)
        if found is None:
            raise RunError(f"{folder}: {cell.words} is not finished; `consilium experiment resume` goes on.")
        factors = {name: value if isinstance(value, str) else toml(value) for name, value in cell.factors.items()}
        rows += [factors | {"seed": cell.seed} | row | {"cell": cell.address} for row in found]
    return pd.DataFrame(rows, columns=[*experiment.factors, "seed", "subject", "measure", "value", "cell"])


def write_table(folder: Path, experiment: Experiment, cells: Sequence[Cell]) -> pd.DataFrame:
    """The table, also as FOLDER/table.parquet with its provenance in the file's own metadata (key `consilium`)."""
    frame = table_of(folder, experiment, cells)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    about = json.dumps({"title": experiment.title} | provenance(list(cells)))
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({b"consilium": about.encode()}), sink)
    write_atomic(folder / TABLE, sink.getvalue().to_pybytes())
    return frame


def means(frame: pd.DataFrame, factors: Sequence[str], *, judged_per_trained: float) -> pd.DataFrame:
    """One row per combination, subject and measure: mean over seeds, and its 95 % interval, NaN with one seed.

    judged_per_trained: as for `common.intervals.over_splits`.
    """
    keys = [*factors, "subject", "measure"]
    rows = []
    for of, values in frame.groupby(keys, sort=False)["value"]:
        found = over_splits([float(value) for value in values], judged_per_trained)
        named = dict(zip(keys, of if isinstance(of, tuple) else (of,), strict=True))
        rows.append(named | {key: found.get(key, float("nan")) for key in ("n", "mean", "low", "high")})
    return pd.DataFrame(rows, columns=[*keys, "n", "mean", "low", "high"])
