"""What passes between a site and the process that reads its tables: a line of JSON each way, then the arrays' bytes.

Both ends are of the same installation, on one machine; nothing is kept in a file.
"""

import json
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic import TypeAdapter

from client.config import SiteConfig
from client.data.report import DataReport
from client.data.site_table import SiteTable
from client.own_log import safe_story
from common.errors import ConsiliumError, DataError, PlanError, Refusal
from common.plan import Plan, plan_from_canonical

ARRAYS = ("patients", "row_ids", "features", "labels", "oracle", "split", "hours", "hour_labels")
_OURS: dict[str, type[ConsiliumError]] = {each.__name__: each for each in (DataError, PlanError)}


class CutOff(Exception):
    """The other process ended before it had said everything."""


def send_request(pipe: IO[bytes], config: SiteConfig, plan: Plan) -> None:
    """Ask for the table that `load_table(config, plan)` gives."""
    content = {"config": config.model_dump(mode="json"), "source": str(config.source)}
    _write_line(pipe, content | {"plan": plan.canonical.decode()})


def receive_request(pipe: IO[bytes]) -> tuple[SiteConfig, Plan]:
    """Raises CutOff."""
    content = _read_line(pipe)
    config = SiteConfig.model_validate_json(json.dumps(content["config"])).at(Path(content["source"]))
    return config, plan_from_canonical(content["plan"].encode(), source="the site's plan")


def send_table(pipe: IO[bytes], table: SiteTable) -> None:
    arrays = {name: np.ascontiguousarray(getattr(table, name)) for name in ARRAYS}
    shapes = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
    content = {"site": table.site, "objections": table.objections, "report": table.report.to_json()}
    _write_line(pipe, content | {"arrays": shapes})
    for array in arrays.values():
        pipe.write(_bytes(array))


def send_error(pipe: IO[bytes], error: BaseException) -> None:
    """An error of ours whole; of any other its class and where it was, for its text may hold a cell of a table."""
    if isinstance(error, ConsiliumError):
        code = (error.code, error.about) if isinstance(error, Refusal) else None
        _write_line(pipe, {"error": type(error).__name__, "text": str(error), "code": code})
    else:
        _write_line(pipe, {"error": "", "text": f"the tables could not be read: {safe_story(error)}.", "code": None})


def receive_table(pipe: IO[bytes]) -> SiteTable:
    """The table that the other side sent. Raises the ConsiliumError that it met instead, and CutOff."""
    content = _read_line(pipe)
    if "error" in content:
        if content["code"] is not None:
            code, about = content["code"]
            raise Refusal(code, content["text"], about=about)
        raise _OURS.get(content["error"], ConsiliumError)(content["text"])
    arrays = {name: _read_array(pipe, *content["arrays"][name]) for name in ARRAYS}
    report = TypeAdapter(DataReport).validate_python(content["report"])
    return SiteTable(site=content["site"], report=report, objections=content["objections"], **arrays)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _read_array(pipe: IO[bytes], dtype: str, shape: list[int]) -> np.ndarray:
    array = np.empty(shape, dtype=dtype)
    if pipe.readinto(_bytes(array)) != array.nbytes:  # type: ignore[attr-defined]
        raise CutOff
    return array


def _write_line(pipe: IO[bytes], content: dict[str, Any]) -> None:
    pipe.write(json.dumps(content).encode() + b"\n")


def _read_line(pipe: IO[bytes]) -> dict[str, Any]:
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise CutOff
    try:
        content: dict[str, Any] = json.loads(line)
    except ValueError:  # something else has written into the pipe before the answer
        raise CutOff from None
    return content
