"""`consilium site model`: take the model out of a site's encrypted folder."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def model(
    site: Annotated[Path, typer.Argument(help="The site.toml, or its folder.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write it in the open, a .safetensors file.")],
) -> None:
    """Decrypt the model that the last run left at this site, for other programs."""
    from client.at_rest.files import MODEL, is_sealed
    from client.at_rest.key import vaulted
    from client.config import load_site
    from common.errors import ConsiliumError
    from common.files import exists, read_bytes, write_atomic
    from common.model_file import ModelFile

    config = load_site(site)
    path = config.folder / MODEL
    if not exists(path):
        raise ConsiliumError(f"{path}: no such file; a run that came to its end leaves the model there.")
    data = vaulted(config).read(path)
    taken = ModelFile.from_bytes(data, source=str(path))
    if out.resolve().is_relative_to(config.keys.resolve()) or (exists(out) and is_sealed(read_bytes(out))):
        raise ConsiliumError(f"{out}: belongs to this site's encrypted files; choose another --out.")
    write_atomic(out, data, private=True)
    Console().print(f"{out}: not encrypted; whoever reads it has the model.", soft_wrap=True)
    if taken.plan.model.keeps_parts:
        Console().print("It is the shared one: this site's own scaling and heads are not in it.", soft_wrap=True)
