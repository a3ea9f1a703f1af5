"""Tables on disk -> columns of numbers and of text. CSV and Parquet give the same; every failure is one sentence."""

import csv
import gzip
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
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
EXCEL_SEPARATOR = re.compile(r'^\ufeff?"?sep=([\t !#-~])"?[\r\n]*$', re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"^\s*-?\d+,\d+\s*$")

T = TypeVar("T")


def read_header(file: Path, data: SiteData) -> list[str]:
    """Names of the columns, without a byte order mark and without spaces around them. Raises DataError."""
    names = _guarded(file, data, _names)
    if not any(names):
        raise DataError(f"{file}: the file is empty; the first line must be a header with the names of the columns.")
    return names


def read_columns(file: Path, data: SiteData, header: list[str], wanted: dict[str, int]) -> pd.DataFrame:
    """The columns at the positions `wanted` in `header` under their keys ('number:age', 'id:patient_id').

    Numbers are float64 with NaN where missing; a column of numbers that holds text stays text, for the contract to
    report. Text is stripped, and missing where it is empty. Raises DataError.
    """
    read = _parquet_table if _is_parquet(file) else _csv_table
    positions = sorted(set(wanted.values()))
    table = _guarded(file, data, lambda path, rules: read(path, rules, positions))
    column = {position: table.column(index) for index, position in enumerate(positions)}
    frame = {
        key: _converted(file, header[position], column[position], key.split(":", 1)[0])
        for key, position in wanted.items()
    }
    return pd.DataFrame(frame, index=pd.RangeIndex(table.num_rows))


def identifiers(names: Iterable[str]) -> list[str]:
    """`names` as a column of identifiers is read, without those that are empty."""
    return list(_text(pa.chunked_array([pa.array(names, pa.string())])).dropna())


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


def _names(file: Path, data: SiteData) -> list[str]:
    if file.is_dir():
        raise DataError(f"{file}: is a folder; 'files' and 'labels' under [data] name tables.")
    if not file.exists():
        raise DataError(f"{file}: no such file; check 'files' and 'labels' under [data].")
    return _parquet_names(file) if _is_parquet(file) else _csv_start(file, data).names


@dataclass(frozen=True)
class _Start:
    """How a CSV file begins. above: lines before the header; rows: whether anything comes after it."""

    names: list[str]
    separator: str
    above: int
    rows: bool


def _csv_start(file: Path, data: SiteData) -> _Start:
    """The header, below blank lines and the line `sep=;` that Excel writes and obeys.

    Only the header has to be right: nobody may read the rest of the lines that are looked at.
    """
    opened = gzip.open if file.name.lower().endswith(".gz") else open
    with opened(file, "rt", encoding=data.encoding, errors="surrogateescape", newline="") as text:
        first = text.readline()
        told = EXCEL_SEPARATOR.match(first)
        separator, above = (told[1], 1) if told else (data.separator, 0)
        lines = csv.reader(text if told else chain([first], text), delimiter=separator)
        for line in lines:
            names = [name.lstrip("\ufeff").strip() for name in line]
            if any(names):
                "".join(names).encode()
                return _Start(names, separator, above, any(lines))
            above = lines.line_num + bool(told)
    return _Start([], separator, above, False)


def _parquet_names(file: Path) -> list[str]:
    with pq.ParquetFile(file) as opened:
        return [name.strip() for name in opened.schema_arrow.names]


def _csv_table(file: Path, data: SiteData, positions: list[int]) -> pa.Table:
    start = _csv_start(file, data)
    names = [f"c{index}" for index in range(len(start.names))]
    ragged: list[int] = []

    def note(row: Any) -> str:
        ragged.append(row.actual_columns)
        return "skip"

    wanted = [names[position] for position in positions]
    if not start.rows:
        return pa.table({name: pa.array([], pa.string()) for name in wanted})
    table = pa_csv.read_csv(
        file,
        read_options=pa_csv.ReadOptions(
            column_names=names, skip_rows=start.above, skip_rows_after_names=1, encoding=data.encoding
        ),
        parse_options=pa_csv.ParseOptions(delimiter=start.separator, newlines_in_values=True, invalid_row_handler=note),
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
            f"(the first has {ragged[0]}); check quotation marks and 'separator' under [data], {start.separator!r} now."
        )
    return table


def _parquet_table(file: Path, _: SiteData, positions: list[int]) -> pa.Table:
    with pq.ParquetFile(file) as opened:
        names = opened.schema_arrow.names
        return opened.read(columns=[names[position] for position in positions]).select(
            [names[position] for position in positions]
        )


def _converted(file: Path, name: str, column: pa.ChunkedArray, kind: str) -> Any:
    """`column`, called `name` in `file`, as numbers or text; raises DataError where that cannot be."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind == "id" and pa.types.is_floating(column.type) and not pc.all(_exact(column), min_count=0).as_py():
        raise DataError(
            f"{file}: column {name!r} holds identifiers that are infinite or too large to be exact as {column.type} "
            "numbers, so that two patients could become one; store them as text or as integers."
        )
    try:
        return _convert(column, kind)
    except (pa.ArrowException, UnicodeError):
        raise DataError(
            f"{file}: column {name!r} holds {column.type} values that are neither numbers nor text; "
            "store them as text or as numbers."
        ) from None


def _convert(column: pa.ChunkedArray, kind: str) -> Any:
    if kind in ("text", "id"):
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
    if pa.types.is_floating(column.type):
        column = _whole_as_integers(column)
    text = _blank_to_null(pc.utf8_trim_whitespace(column.cast(pa.string())))
    text = pc.replace_substring_regex(text, r"^(-?[0-9]+)\.0+$", r"\1")
    return text.to_pandas().astype("str")


def _whole_as_integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text of floating numbers: 12 rather than 12.0 or 1.2e+01, wherever the number is exact."""
    numbers = column.cast(pa.float64())
    whole = pc.and_(_exact(column), pc.equal(pc.floor(numbers), numbers))
    integers = pc.if_else(whole, numbers, pa.scalar(None, pa.float64())).cast(pa.int64())
    return pc.coalesce(integers.cast(pa.string()), column.cast(pa.string()))


def _exact(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """True where a floating number is missing or no neighbouring integer rounds to it; an infinite one is not."""
    limit = 2.0 ** {16: 11, 32: 24, 64: 53}[column.type.bit_width]
    numbers = column.cast(pa.float64())
    return pc.or_kleene(pc.is_null(numbers, nan_is_null=True), pc.less_equal(pc.abs(numbers), limit))


def _blank_to_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_in(column, value_set=pa.array(MISSING)), pa.scalar(None, column.type), column)
