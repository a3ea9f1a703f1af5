"""Cleveland's own code for a history of hypertension, which runs the other way than at the other three hospitals."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from experiments.wrong_site.study import Hospitals

SITE, RAW = "cleveland", "history_of_hypertension_as_coded"
COLUMNS = {
    "the label": ("label_history_hypertension",),
    "the input": ("history_of_hypertension",),
    "both": ("label_history_hypertension", "history_of_hypertension"),
}


def as_coded(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Cleveland's table with the raw code in these columns."""
    return table.assign(**dict.fromkeys(columns, table[RAW]))


def flipped(plan: Path, folder: Path, work: Path, seeds: range) -> dict[str, tuple[int, int, int]]:
    """What carries the raw code -> splits in which Cleveland names it, in which another site is flagged, all splits."""
    result = {}
    for what, columns in COLUMNS.items():
        named = others = 0
        wanted = {"hypertension" if column.startswith("label") else column for column in columns}
        for seed in seeds:
            hospitals = Hospitals(plan, folder, seed)
            faulty = hospitals.with_table(SITE, as_coded(hospitals.frame(SITE), columns), work)
            found = hospitals.new(hospitals.compare(faulty))
            named += found[SITE] == wanted
            others += any(found[site] for site in found if site != SITE)
        result[what] = (named, others, len(seeds))
    return result
