"""Our own network without a federation, or with another one: trained by the same coordinator, door and trainer."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from client.app import app
from client.config import SiteConfig, SiteData, SiteRules, load_site
from client.data.table import SiteTable
from client.session import Session
from client.sessions import close_sessions, keep_session
from common.files import read_bytes
from common.model_file import ModelFile
from common.plan import Plan
from experiments.simulate import prepare_sites
from server.inprocess import InProcessGrid
from server.journal import Journal
from server.result import MODEL
from server.run import run


def train(plan: Plan, tables: Sequence[SiteTable], *, device: str = "auto") -> ModelFile:
    """The model that a federation of `tables` under `plan` ends with. Raises RunError if nothing can be trained.

    It is a whole run in a temporary folder, of which only the model is kept; device: as in site.toml.
    """
    logging.getLogger("flwr").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder, plan, resume=False)
        sites = prepare_sites(plan, [_config(table, device) for table in tables], folder)
        close_sessions()
        for table in tables:
            session = Session(load_site(sites[table.site]), plan)
            session.table = table
            keep_session(session)
        grid = InProcessGrid(app, [{"site-config": str(path)} for path in sites.values()])
        try:
            run(plan, grid, journal, wanted_sites=len(tables))
        finally:
            close_sessions()
        return ModelFile.from_bytes(read_bytes(folder / MODEL), source=MODEL)


def _config(table: SiteTable, device: str) -> SiteConfig:
    """A site whose table is already in memory: its file is never opened."""
    return SiteConfig(site=SiteRules(name=table.site, device=device), data=SiteData(files=("in-memory.csv",)))
