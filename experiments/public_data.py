"""`consilium data check heart|eicu DIR`: are the prepared public data what docs/data.md says they are?

The only code that names these data sets; everything else reads them like any hospital's tables.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from common.errors import ConsiliumError, DataError, PlanError

if TYPE_CHECKING:
    import pandas as pd


class Check(NamedTuple):
    """One comparison of a folder with what is documented."""

    what: str
    found: str
    expected: str
    ok: bool


@dataclass(frozen=True)
class _DataSet:
    """rows: file -> data rows. labels: column -> (labelled rows, rows above 0). folders: where the files may be."""

    patient: str
    columns: int
    patients: int
    rows: dict[str, int]
    labels: dict[str, tuple[int, int]]
    folders: tuple[str, ...]


_SETS = {
    "heart": _DataSet(
        patient="patient_id",
        columns=44,
        patients=920,
        rows={"cleveland.csv": 303, "hungary.csv": 294, "long_beach.csv": 200, "switzerland.csv": 123},
        labels={
            "label_heart_disease": (920, 509),
            "label_severity_0_4": (920, 509),
            "label_exercise_angina": (865, 337),
            "label_fasting_glucose_over_120": (830, 138),
            "label_history_hypertension": (865, 346),
            "label_resting_sbp_ge_140": (860, 311),
        },
        folders=(".", "fed_heart"),
    ),
    "eicu": _DataSet(
        patient="uniquepid",
        columns=130,
        patients=1694,
        rows={
            "Midwest_100-249.csv": 268,
            "Midwest_250-499.csv": 79,
            "Midwest_ge500.csv": 97,
            "Midwest_lt100.csv": 217,
            "Midwest_unknown.csv": 105,
            "Northeast_100-249.csv": 56,
            "Northeast_lt100.csv": 41,
            "South_100-249.csv": 239,
            "South_250-499.csv": 139,
            "South_ge500.csv": 131,
            "South_lt100.csv": 76,
            "South_unknown.csv": 75,
            "West_100-249.csv": 157,
            "West_250-499.csv": 185,
            "West_ge500.csv": 51,
            "West_lt100.csv": 142,
            "unknown_250-499.csv": 37,
            "unknown_unknown.csv": 127,
        },
        labels={
            "label_hospital_mortality": (1493, 127),
            "label_icu_mortality": (1513, 69),
            "label_icu_los_over_3d": (1513, 510),
            "label_history_hypertension": (2032, 1053),
            "label_history_diabetes": (2032, 603),
            "label_history_heart_failure": (2032, 301),
            "label_history_copd": (2032, 358),
            "label_aki_after_24h": (893, 196),
            "label_deterioration_24_48h": (1254, 294),
        },
        folders=(".", "by_site_group", "eicu_demo/by_site_group"),
    ),
}


def check(name: str, directory: str | Path) -> list[Check]:
    """Compare `directory` with the documented data set `name` ('heart' or 'eicu'): rows, patients, labels.

    directory: the folder with the tables, or one above it. Raises PlanError for another name, and DataError if files
    or columns are not laid out as documented.
    """
    import numpy as np
    import pandas as pd  # here, for every command of `consilium` reads this file

    if name not in _SETS:
        raise PlanError(f"data set {name!r} is not known; allowed: {', '.join(sorted(_SETS))}.")
    expected = _SETS[name]
    folder = _folder(expected, Path(directory))
    tables = {file: _read(folder / file, expected) for file in expected.rows}
    checks = [_compare(f"{file}: rows", len(tables[file]), rows) for file, rows in expected.rows.items()]
    every = pd.concat(tables.values(), ignore_index=True)
    checks.append(_compare("patients", every[expected.patient].nunique(), expected.patients))
    for label, (labelled, positive) in expected.labels.items():
        values = pd.to_numeric(every[label], errors="coerce").to_numpy(dtype=np.float64)
        found = (int((~np.isnan(values)).sum()), int((values > 0).sum()))
        checks.append(Check(label, _share(*found), _share(labelled, positive), found == (labelled, positive)))
    return checks


def _compare(what: str, found: int, expected: int) -> Check:
    return Check(what, f"{found:,}", f"{expected:,}", found == expected)


def _share(labelled: int, positive: int) -> str:
    return f"{positive:,} of {labelled:,}" + (f" ({positive / labelled:.1%})" if labelled else "")


def _folder(expected: _DataSet, directory: Path) -> Path:
    """The folder that holds the tables."""
    nearest = min((directory / name for name in expected.folders), key=lambda path: len(_missing(expected, path)))
    missing = _missing(expected, nearest)
    if not missing:
        return nearest
    raise DataError(
        f"{nearest}: {len(missing)} of {len(expected.rows)} files are missing, the first is {missing[0]!r}; "
        "docs/data.md shows the layout."
    )


def _missing(expected: _DataSet, folder: Path) -> list[str]:
    return [file for file in expected.rows if not (folder / file).is_file()]


def _read(file: Path, expected: _DataSet) -> "pd.DataFrame":
    import pandas as pd

    wanted = [expected.patient, *expected.labels]
    try:
        with file.open(encoding="utf-8", newline="") as text:
            header = next(csv.reader(text), [])
        absent = [column for column in wanted if column not in header]
        if absent or len(header) != expected.columns:
            what = f"column {absent[0]!r} is missing" if absent else f"found {len(header)} columns"
            raise DataError(f"{file}: {what}, expected {expected.columns} columns; docs/data.md shows the layout.")
        return pd.read_csv(file, usecols=wanted, dtype="str")
    except (OSError, ValueError, csv.Error):
        raise DataError(f"{file}: cannot be read as UTF-8 CSV; docs/data.md shows the layout.") from None


data_app = typer.Typer(help="Public data sets to try Consilium on.", no_args_is_help=True)


@data_app.callback()
def _data() -> None:
    """Public data sets to try Consilium on."""


@data_app.command("check")
def check_command(
    name: Annotated[str, typer.Argument(help="'heart' or 'eicu'.")],
    directory: Annotated[Path, typer.Argument(help="Folder with the prepared tables (docs/data.md).")],
) -> None:
    """Compare a folder of prepared public data with what is documented; exit 2 if it differs."""
    errors = Console(stderr=True, soft_wrap=True)
    try:
        checks = check(name, directory)
    except ConsiliumError as error:
        errors.print(str(error), markup=False, highlight=False)
        raise typer.Exit(2) from None
    table = Table("what", "found", "expected", "")
    for item in checks:
        table.add_row(item.what, item.found, item.expected, "[green]ok[/green]" if item.ok else "[red]differs[/red]")
    Console().print(table)
    differing = [item.what for item in checks if not item.ok]
    if differing:
        errors.print(
            f"{directory}: {len(differing)} of {len(checks)} checks differ, the first is {differing[0]!r}.",
            markup=False,
        )
        raise typer.Exit(2)
