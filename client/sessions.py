"""The sessions of this process, each warm between the messages of its site."""

from pathlib import Path

from flwr.app import Context

from client.config import SiteConfig, find_sites, load_site
from client.session import Session
from common.errors import DataError, PlanError
from common.files import own_folder, read_plan

_sessions: dict[tuple[str, str], Session] = {}


def open_session(context: Context) -> Session:
    """The session that `context` belongs to; kept warm for the next message of the same site and plan.

    Deployed: node config `site-config` names the site.toml. Under Flower's simulation engine the run config `sites`
    names a folder of sites and `partition-id` counts them; a real node never reads that key.
    Raises PlanError if the site's settings or its approved plan cannot be read.
    """
    config, virtual = _site_of(context)
    if config.plan is None:
        raise PlanError(f"{config.source}: key 'site.plan' is missing; it names the federation.toml approved here.")
    plan = read_plan(config.plan)
    key = (str(config.folder), plan.hash)
    known = _sessions.get(key)
    if known is None or known.config != config or known.is_behind:
        session = Session(config, plan, virtual)
        for before in [each for (folder, _), each in _sessions.items() if folder == str(config.folder)]:
            session.follow(before)
        keep_session(session)
    return _sessions[key]


def keep_session(session: Session) -> None:
    """Have `session` answer for its site from now on: a simulation hands over the tables that it has checked."""
    own_folder(session.config.folder)
    folder = str(session.config.folder)
    for key in [key for key in _sessions if key[0] == folder]:
        _sessions.pop(key).close()  # a site works under one plan at a time, and one session holds its ledger
    _sessions[str(session.config.folder), session.plan.hash] = session


def close_sessions() -> None:
    """Forget every warm session and close the sites' logs."""
    for session in _sessions.values():
        session.close()
    _sessions.clear()


def _site_of(context: Context) -> tuple[SiteConfig, bool]:
    """The site's settings, and whether it is a virtual one of a simulation engine."""
    if "site-config" in context.node_config:
        return load_site(Path(str(context.node_config["site-config"]))), False
    if "partition-id" in context.node_config and "sites" in context.run_config:
        sites = find_sites(Path(str(context.run_config["sites"])))
        number = int(context.node_config["partition-id"])
        if number >= len(sites):
            raise DataError(
                f"{context.run_config['sites']}: {len(sites)} sites, but the engine asks for number {number}."
            )
        return sites[number], True
    raise PlanError("node config 'site-config' is missing; it names this site's site.toml.")
