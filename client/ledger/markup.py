"""Pages for a hospital's own files: escaped, self-contained, without any network."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; font-size: 13.5px; }
th, td { text-align: left; vertical-align: top; padding: .3rem .45rem; border-bottom: 1px solid #d7dde3; }
th { white-space: nowrap; } code { font-size: 11px; word-break: break-all; } td code { display: block; }
td code { min-width: 32ch; } tr { break-inside: avoid; } .n { text-align: right; }
.wide, figure { overflow-x: auto; margin: 1rem 0 2rem; } .wide table { margin: 0; } figure svg { min-width: 34rem; }
.state { background: #eef3f0; padding: .6rem .8rem; border-radius: .3rem; } .chart { width: 100%; height: 340px; }
@media print { @page { size: A4 landscape; margin: 12mm; } .wide, figure { overflow: visible; }
  body, table { margin: 0; max-width: none; font-size: 10px; }
  code { font-size: 8px; } th, td { padding: .15rem .35rem; } }
"""


def page(title: str, *body: str, scripts: Sequence[str] = ()) -> str:
    """A whole HTML page. body: HTML that is escaped already. Nothing but `scripts` runs, and nothing is loaded."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    sources = f"script-src {hashes}; " if scripts else ""
    policy = f"default-src 'none'; {sources}style-src 'unsafe-inline'; img-src data:"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>",
            *body,
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, code: Sequence[str] = (), right: Sequence[str] = ()
) -> str:
    """A table that scrolls by itself where the window is narrower.

    code: names of the columns that are set in a fixed width; right: of those that are numbers.
    """
    at = {name: ' class="n"' if name in right else "" for name in names}
    head = "".join(f"<th{at[name]}>{escape(name)}</th>" for name in names)
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td><code>{escape(cell)}</code></td>" if name in code else f"<td{at[name]}>{escape(cell)}</td>"
            for name, cell in zip(names, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
