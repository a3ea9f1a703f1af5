"""From files to files: what `consilium adapt` reads, refuses and writes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from client.adapt.adapt import SCHEMA, Trained, adapt
from client.adapt.compare import Tell
from client.adapt.report import adapt_page
from client.adapt.task import read_task
from client.at_rest.files import is_sealed
from client.at_rest.key import vaulted
from client.config import load_site
from client.predict import model_bytes, used_here
from common.errors import ConsiliumError, DataError
from common.files import check_writable, exists, read_bytes, write_set

SEALED = ".safetensors.enc"
_OWN = {"site.toml", "policy.toml", "plan.json", "benefit.json", "unlike.json", "evaluation.json", "data_report.json"}
_OWN |= {"benefit.html", "outputs.safetensors.enc", "parts.safetensors.enc", "heads.safetensors.enc"}
_FEWEST = 4


def adapt_files(
    model: Path,
    site: Path,
    plan: Path,
    out: Path,
    *,
    task: str | None,
    unfreeze: bool,
    sizes: str,
    draws: int,
    seed: int,
    tell: Tell,
    warn: Tell = lambda text: None,
) -> dict[str, Any]:
    """Write the model with the new task to `out`, its report beside it; returns the report.

    A model that was encrypted stays so: `out` then lies in the same site's folder. warn: told what looks like a slip in
    the site's tables. Raises ConsiliumError.
    """
    torch.set_num_threads(1)  # for networks of this size; it also fixes the order of sums
    counts = _counts(sizes)
    entry = read_task(plan, task)
    config = load_site(site)
    sealed = is_sealed(read_bytes(model))
    pages = (out.with_suffix(".json"), out.with_suffix(".html"))
    taken = [model, plan, config.source, *config.tables]
    for target in (out, *pages):
        if any(target.resolve() == source.resolve() for source in taken):
            raise DataError(f"{target}: this is a file that the adapted model is made from; choose another --out.")
        if target.name in _OWN:
            raise DataError(f"{target}: a site keeps something else under this name; choose another --out.")
    _check_place(model, out, sealed=sealed)
    _check_former(out, *pages)
    check_writable(out, *pages)
    opened = model_bytes(model)
    trained = replace(Trained.of(opened, model), model=used_here(model, opened))
    outcome = adapt(
        trained,
        config,
        entry,
        source=str(plan),
        unfreeze=unfreeze,
        sizes=counts,
        draws=draws,
        seed=seed,
        tell=tell,
        warn=warn,
    )
    data = outcome.model.to_bytes()
    if sealed:
        data = vaulted(load_site(model.parent)).file(out, data)
    texts = (json.dumps(outcome.report, indent=1).encode(), adapt_page(outcome.report).encode())
    write_set(dict(zip((*pages, out), (*texts, data), strict=True)), private=True)
    return outcome.report


def _check_former(out: Path, report: Path, page: Path) -> None:
    """Raises ConsiliumError where one of the three is there and is not of an earlier `consilium adapt`."""
    there = [path for path in (out, report, page) if exists(path)]
    try:
        content = json.loads(read_bytes(report)) if report in there else {}
    except (ValueError, RecursionError):  # also UnicodeDecodeError
        content = {}
    if there and not (isinstance(content, dict) and content.get("schema") == SCHEMA):
        raise ConsiliumError(
            f"{there[0]}: exists, and `consilium adapt` did not write it with a report {report.name}; choose another "
            "--out."
        )


def _check_place(model: Path, out: Path, *, sealed: bool) -> None:
    if sealed and (out.resolve().parent != model.resolve().parent or not out.name.endswith(SEALED)):
        raise ConsiliumError(
            f"{out}: the model is encrypted, and what is made from it stays so: --out has to be a new name in "
            f"{model.parent} that ends in {SEALED}."
        )
    if not sealed and (out.suffix != ".safetensors" or (exists(out) and is_sealed(read_bytes(out)))):
        raise ConsiliumError(f"{out}: --out names the model to write, a file that ends in .safetensors.")


def _counts(text: str) -> list[int]:
    """Numbers between commas, ascending. Raises ConsiliumError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 and int(part) >= _FEWEST for part in parts):
        raise ConsiliumError(f"--labels {text}: expected whole numbers of at least {_FEWEST} such as 10,50,200.")
    return sorted({int(part) for part in parts})
