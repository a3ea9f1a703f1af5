"""What is still to be done before this hospital can take part, in order; the same list after every command."""

from client.approval.approval import check_approval
from client.config import SiteConfig
from client.network.home import Home, load_connection
from client.network.request import request_path
from client.secure import keys
from common.errors import ConsiliumError, Refusal
from common.files import exists, read_bytes, read_plan
from common.secagg.json_view import from_json
from common.secagg.messages import SignedRoster


def next_steps(config: SiteConfig) -> list[str]:
    """Commands that a person has to give, each with its purpose; empty where everything is in place.

    Raises ConsiliumError where a file of this hospital is damaged.
    """
    home = Home.of(config)
    folder = home.folder
    if not exists(home.node_key) or not exists(config.keys / keys.KEY):
        return [f"consilium site init {folder}    makes this hospital's keys and its request"]
    if not exists(home.connection):
        return [
            f"send {request_path(config)} to the coordinator, who answers with an invitation",
            f"consilium site join {folder} INVITATION    checks it and keeps it",
        ]
    return _about_the_roster(config, home) + _about_the_plan(config, folder)


def _about_the_roster(config: SiteConfig, home: Home) -> list[str]:
    accepted = keys.load_roster(config)
    if not exists(home.proposal):
        return [] if accepted else [f"consilium site join {home.folder} INVITATION    brings the roster"]
    proposal = from_json(SignedRoster, read_bytes(home.proposal), source=str(home.proposal)).roster
    if accepted is not None and accepted.roster.number >= proposal.number:
        return []
    steps = []
    if not keys.is_approved(config, proposal) and (accepted is not None or proposal.number == 1):
        sign = f"consilium site sign {home.folder} {home.proposal}"
        steps.append(f"{sign}    and send {config.name}.signature.json to the coordinator")
    before = f" --previous {home.previous}" if accepted is None and exists(home.previous) else ""
    accept = f"consilium site accept {home.folder} roster.json{before}"
    steps.append(f"{accept}    with the roster that the coordinator sends then")
    return steps


def _about_the_plan(config: SiteConfig, folder: object) -> list[str]:
    if config.plan is None:
        return [f"consilium site join {folder} INVITATION    brings the plan"]
    if not exists(config.plan):
        return [f"take the line 'plan' out of {config.source}, or put {config.plan} there"]
    decide = [
        f"consilium site review {folder} {config.plan}    shows what would run, leave and cost",
        f"consilium site approve {folder} {config.plan}",
    ]
    try:
        check_approval(config, read_plan(config.plan))
    except Refusal:
        return decide
    return []


def is_joined(config: SiteConfig) -> bool:
    """Whether this hospital keeps an invitation."""
    try:
        load_connection(Home.of(config))
    except ConsiliumError:
        return False
    return True
