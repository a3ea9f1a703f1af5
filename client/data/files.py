"""Tables on disk -> columns of numbers and of text. CSV and Parquet give the same; every failure is one sentence."""

import csv
import gzip
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from client.config import SiteData
from common.errors import DataError

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None")

T = TypeVar("T")


def read_header(file: Path, data: SiteData) -> list[str]:
    """Names of the columns, without a byte order mark and without spaces around them. Raises DataError."""
    if file.is_dir():
        raise DataError(f"{file}: is a folder; 'files' and 'labels' under [data] name tables.")
    if not file.exists():
        raise DataError(f"{file}: no such file; check 'files' and 'labels' under [data].")
    names = _guarded(file, data, _parquet_names if _is_parquet(file) else _csv_names)
    if not any(names):
        raise DataError(f"{file}: the file is empty; the first line must be a header with the names of the columns.")
    return names


def read_columns(file: Path, data: SiteData, wanted: dict[str, int]) -> pd.DataFrame:
    """The columns at the positions `wanted` under their keys ('number:age', 'text:patient_id').

    Numbers are float64 with NaN where missing; a column of numbers that holds text stays text, for the contract to
    report. Text is stripped, and missing where it is empty. Raises DataError.
    """
    read = _parquet_table if _is_parquet(file) else _csv_table
    positions = sorted(set(wanted.values()))
    table = _guarded(file, data, lambda path, rules: read(path, rules, positions))
    column = {position: table.column(index) for index, position in enumerate(positions)}
    frame = {key: _convert(column[position], key.split(":", 1)[0]) for key, position in wanted.items()}
    return pd.DataFrame(frame, index=pd.RangeIndex(table.num_rows))


def _is_parquet(file: Path) -> bool:
    return file.name.lower().endswith(".parquet")


def _guarded(file: Path, data: SiteData, read: Callable[[Path, SiteData], T]) -> T:
    """`read`, with each of its failures as one DataError that tells nothing of the content."""
    try:
        return read(file, data)
    except UnicodeError:
        raise _wrong_encoding(file, data) from None
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error) and not _is_parquet(file):
            raise _wrong_encoding(file, data) from None
        kind = "Parquet" if _is_parquet(file) else "CSV"
        raise DataError(
            f"{file}: not a readable {kind} file; it may be damaged, cut off or of another format."
        ) from None
    except (gzip.BadGzipFile, EOFError, csv.Error, pa.ArrowException):
        raise DataError(f"{file}: the file is damaged or cut off and cannot be read.") from None
    except OSError as error:
        reason = error.strerror or "damaged or cut off"
        raise DataError(f"{file}: cannot be read: {reason}.") from None


def _wrong_encoding(file: Path, data: SiteData) -> DataError:
    return DataError(
        f"{file}: not text in the encoding {data.encoding!r}; name the right one as 'encoding' under [data] in "
        "site.toml, for example 'latin-1' or 'cp1252'."
    )


def _csv_names(file: Path, data: SiteData) -> list[str]:
    first = next(iter(_csv_start(file, data)), [])
    names = [name.lstrip("\ufeff").strip() for name in first]
    "".join(names).encode()
    return names


def _csv_start(file: Path, data: SiteData) -> list[list[str]]:
    """The header and the line after it. Only the header has to be right: nobody may read the rest of that line."""
    opened = gzip.open if file.name.lower().endswith(".gz") else open
    with opened(file, "rt", encoding=data.encoding, errors="surrogateescape", newline="") as text:
        return list(islice(csv.reader(text, delimiter=data.separator), 2))


def _parquet_names(file: Path, _: SiteData) -> list[str]:
    with pq.ParquetFile(file) as opened:
        return [name.strip() for name in opened.schema_arrow.names]


def _csv_table(file: Path, data: SiteData, positions: list[int]) -> pa.Table:
    names = [f"c{index}" for index in range(len(_csv_names(file, data)))]
    ragged: list[int] = []

    def note(row: Any) -> str:
        ragged.append(row.actual_columns)
        return "skip"

    wanted = [names[position] for position in positions]
    if len(_csv_start(file, data)) < 2:
        return pa.table({name: pa.array([], pa.string()) for name in wanted})
    table = pa_csv.read_csv(
        file,
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows_after_names=1, encoding=data.encoding),
        parse_options=pa_csv.ParseOptions(delimiter=data.separator, newlines_in_values=True, invalid_row_handler=note),
        convert_options=pa_csv.ConvertOptions(
            include_columns=wanted,
            column_types={name: pa.string() for name in names},
            null_values=MISSING,
            strings_can_be_null=True,
        ),
    )
    if ragged:
        raise DataError(
            f"{file}: {len(ragged)} row(s) have another number of values than the {len(names)} columns of the header "
            f"(the first has {ragged[0]}); check quotation marks and 'separator' under [data], {data.separator!r} now."
        )
    return table


def _parquet_table(file: Path, _: SiteData, positions: list[int]) -> pa.Table:
    with pq.ParquetFile(file) as opened:
        names = opened.schema_arrow.names
        return opened.read(columns=[names[position] for position in positions]).select(
            [names[position] for position in positions]
        )


def _convert(column: pa.ChunkedArray, kind: str) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind == "text":
        return _text(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _parsed(column, kind)
    try:
        return column.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowException:
        return pd.Series(column.to_pandas()).astype("str")


def _parsed(column: pa.ChunkedArray, kind: str) -> Any:
    """float64 where every cell is a number, else the text as it is."""
    try:
        return column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        column = _blank_to_null(pc.utf8_trim_whitespace(column))
    if kind == "flag":
        for pattern, number in (("^(?i:true)$", "1"), ("^(?i:false)$", "0")):
            column = pc.replace_substring_regex(column, pattern, number)
    try:
        return column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return column.to_pandas().astype("str")


def _text(column: pa.ChunkedArray) -> Any:
    """Identifiers and codes. A whole number that was stored as 12.0 is 12: it is the same patient elsewhere."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_floating(column.type) and pc.all(pc.equal(pc.floor(column), column)).as_py():
        column = column.cast(pa.int64(), safe=False)
    text = _blank_to_null(pc.utf8_trim_whitespace(column.cast(pa.string())))
    text = pc.replace_substring_regex(text, r"^(-?[0-9]+)\.0+$", r"\1")
    return text.to_pandas().astype("str")


def _blank_to_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_in(column, value_set=pa.array(MISSING)), pa.scalar(None, column.type), column)


DECIMAL_COMMA = re.compile(r"^\s*-?\d+,\d+\s*$")
