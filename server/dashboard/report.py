"""`write_report`: result.json as one self-contained HTML page that works without any network."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from common.errors import RunError
from common.files import write_atomic
from server.dashboard.chapters import chapters
from server.dashboard.charts import Charts
from server.dashboard.details import boundary, data, left_out, provenance, training
from server.dashboard.markup import el, join
from server.dashboard.overview import header, results
from server.dashboard.unlike import unlike
from server.dashboard.worth import worth

SCHEMA = "consilium/result/1"


def write_report(result: Mapping[str, Any], path: Path) -> None:
    """Write the page of `result` (docs/result.md) to `path`, whole or not at all.

    Raises RunError if `result` has another schema, and ConsiliumError if the file cannot be written; what was at
    `path` is then still there.
    """
    write_atomic(path, page(result).encode())


def page(result: Mapping[str, Any]) -> str:
    """The whole page as text.

    Its security policy names the two scripts by their hashes and allows no connection, so that nothing in a result
    can run or load anything, even if it were not escaped.
    """
    if result.get("schema") != SCHEMA:
        raise RunError(f"schema: found {result.get('schema')!r}, but this version reads {SCHEMA!r}")
    charts = Charts()
    body = join(
        el(
            "main",
            header(result),
            results(result),
            worth(result),
            boundary(result),
            chapters(result, charts),
            training(result, charts),
            data(result, charts),
            unlike(result),
            left_out(result, charts),
        ),
        provenance(result),
    )
    plotly, script = (text.replace("\r\n", "\n") for text in (get_plotlyjs(), _asset("page.js")))
    return Template(_asset("page.html")).substitute(
        policy=_policy(plotly, script),
        title=join(result.get("title") or result.get("federation") or "Consilium"),
        style=_asset("page.css"),
        body=body,
        figures=charts.as_json(),
        plotly=plotly,
        script=script,
    )


def _policy(*scripts: str) -> str:
    hashes = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    # plotly puts its own <style> into the page, hence 'unsafe-inline' for styles, and draws nothing from the network.
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return files("server.dashboard").joinpath(name).read_text(encoding="utf-8")
