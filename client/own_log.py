"""What a site writes into its own log about an error: enough to find the fault, and no value of a patient.

The text of an exception that we did not write may hold a cell of a table, an identifier or a whole record, and so may
the source line of a traceback. Of those the log gets the class, and the places in the code.
"""

import logging
import sys
from pathlib import Path
from types import TracebackType

from common.errors import ConsiliumError, Refusal

_CHAIN = 8


def story(error: BaseException) -> str:
    """One line: the sentence of an error of ours, which holds no value; class and code places of any other."""
    return str(error) if isinstance(error, ConsiliumError) else safe_story(error)


def safe_story(error: BaseException) -> str:
    """`ValueError at table.py:52 load_table < work.py:28 declare`, innermost first; then the error that caused it."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(parts) < _CHAIN:
        seen.add(id(current))
        places = " < ".join(_places(current.__traceback__))
        parts.append(type(current).__qualname__ + (f" at {places}" if places else ""))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return ", after ".join(parts)


class OwnFormatter(logging.Formatter):
    """Time, level and message; of an exception that is logged with `exc_info` only its safe story."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatException(self, ei: object) -> str:
        error = ei[1] if isinstance(ei, tuple) else None
        return safe_story(error) if isinstance(error, BaseException) else ""

    def format(self, record: logging.LogRecord) -> str:
        """One line: an exception among the arguments is shown by its story, and nobody can begin a second line."""
        if isinstance(record.args, tuple):
            arguments = tuple(story(each) if isinstance(each, BaseException) else each for each in record.args)
            record = logging.makeLogRecord(record.__dict__ | {"args": arguments, "exc_text": None})
        return super().format(record).replace("\n", " | ")


class _OwnFile(logging.FileHandler):
    """A log file. Where it cannot be written, Python would show the line and the error behind it on the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        print(f"{self.baseFilename}: a line of this log could not be written.", file=sys.stderr)


def own_file(path: Path) -> logging.Handler:
    """Errors in full stay in this file, which only the site's own user reads. Raises Refusal `cannot_record`."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise Refusal("cannot_record", f"{path}: cannot be written: {error.strerror or error}.") from None
    handler = _OwnFile(path, encoding="utf-8", delay=True)
    handler.setFormatter(OwnFormatter())
    return handler


def _places(trace: TracebackType | None) -> list[str]:
    """`file:line function` of each frame, innermost first."""
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return found[::-1]
