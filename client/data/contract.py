"""The plan's data contract as a pandera schema, and pandera's findings as one sentence."""

from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from client.config import SiteConfig
from client.data.columns import Need, describe, locate, missing_column, not_recorded
from client.data.files import DECIMAL_COMMA, read_columns, read_header
from common.errors import DataError


def contract(needs: list[Need]) -> pa.DataFrameSchema:
    """Required columns, and numbers where the plan says numbers. Ranges and codes are cleaned later, not refused."""
    return pa.DataFrameSchema(
        {
            need.key: pa.Column(
                None if need.kind in ("text", "id") else "float64",
                nullable=True,
                coerce=True,
                required=not need.optional,
            )
            for need in needs
        }
    )


def read_table(config: SiteConfig, file: Path, needs: list[Need]) -> pd.DataFrame:
    """The columns of `file` that `needs` names, under their keys; raises DataError if it breaks the contract.

    Columns that may be absent and are, or that the site does not record, are left out.
    """
    header = read_header(file, config.data)
    expected = [need for need in needs if not not_recorded(config, need)]
    frame = read_columns(file, config.data, header, locate(config, file, header, expected))
    try:
        return contract(expected).validate(frame, lazy=True)
    except SchemaErrors as error:
        failures = error.failure_cases
    by_key = {need.key: need for need in expected}
    absent = failures.loc[failures["check"] == "column_in_dataframe", "failure_case"]
    if len(absent):
        raise missing_column(config, file, header, by_key[absent.iloc[0]])
    wrong = by_key[failures["column"].iloc[0]]
    raise _not_numbers(config, file, wrong, failures[failures["column"] == wrong.key])


def _not_numbers(config: SiteConfig, file: Path, need: Need, failures: pd.DataFrame) -> DataError:
    """The sentence for text among numbers; the text itself stays out of it."""
    column = config.columns.get(need.name, need.name)
    rows = failures["index"].dropna().unique()
    first = f"first in row {int(min(rows)) + 1} after the header" if len(rows) else "in the whole column"
    hint = ""
    if failures["failure_case"].astype("str").str.match(DECIMAL_COMMA).any():
        hint = "; they look like decimal commas, and a decimal point is needed"
    allowed = "0, 1, true or false" if need.kind == "flag" else "numbers"
    return DataError(
        f"{file}: column {column!r}, {describe(need)}, holds {max(len(rows), 1)} value(s) that are not numbers, "
        f"{first}; allowed: {allowed}, or an empty cell{hint}."
    )
