"""`[data]` of site.toml: where a hospital's tables are, how they are written, and who is left out of them."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from common.plan.base import Section, matching

FileName = Annotated[str, Field(min_length=1), matching(r"[^\x00]*", "a path, and no path has a NUL character")]
Files = Annotated[tuple[FileName, ...], Field(strict=False)]


def _file_or_list(value: Any) -> str | tuple[str, ...]:
    """Checked by hand, because pydantic's own message would show an identifier."""
    if isinstance(value, str) and value and "\0" not in value:
        return value
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise ValueError("expected the name of a file, or a list of identifiers that are each in quotation marks")


class SiteData(Section):
    """`[data]`: the tables."""

    files: Annotated[Files, Field(min_length=1)] = Field(
        description="Tables of rows: CSV, CSV.gz or Parquet; the rows of several files are put together."
    )
    labels: Files = Field(
        default=(),
        description="Separate tables of labels, joined on the plan's row column, or on its patient column "
        "where the plan has no row column.",
    )
    hours: Files = Field(
        default=(),
        description="Hourly tables, for a plan with `[sequence]`: one row per stay and hour, joined like tables of "
        "labels. Rows of stays that are not of this site are counted and left out.",
    )
    exclude_patients: Annotated[str | tuple[str, ...], BeforeValidator(_file_or_list)] = Field(
        default=(),
        description="Patients who object: the name of a file with one identifier per line, or a list of them. "
        "They are left out before anything is counted. After an edit of the file a running site refuses everything "
        "until it is started again.",
    )
    encoding: str = Field(default="utf-8", description="Character encoding of the CSV files, e.g. 'latin-1'.")
    separator: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        default=",", description="Character between the values of a CSV file, e.g. ';'."
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            "".encode(value)  # unlike codecs.lookup, this refuses codecs that are no text encodings
        except (LookupError, ValueError):
            raise ValueError(f"found {value!r}; allowed is a text encoding such as 'utf-8' or 'latin-1'") from None
        return value

    @field_validator("separator")
    @classmethod
    def _one_byte(cls, value: str) -> str:
        if not value.isascii() or value in '"\r\n\0':
            raise ValueError(
                f"found {value!r}; allowed is one ASCII character such as ';' or a tab, "
                "but no quotation mark, line break or null"
            )
        return value
