"""Enrolment of virtual sites: the steps that people take at real ones, in one process. No step is left out.

Every site makes its key, approves and signs the roster, and accepts it with all its checks. Only the approval is no
person's, as no patient is.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client.config import SiteConfig, load_site
from client.keys import KEY, accept_roster, approve_roster, enrol_card, make_keys, sign_roster
from common.errors import RunError
from common.files import write_atomic, write_private
from common.plan import Plan
from common.secagg import roster
from common.secagg.json_view import to_json
from common.secagg.key_pem import key_to_pem
from common.secagg.primitives import SigningKey
from server.roster import load_coordinator_key, read_roster
from server.secure_state import CoordinatorKeys

COORDINATOR_KEY, ROSTER = "coordinator.key", "roster.json"


def enrol_virtual(plan: Plan, sites: Mapping[str, Path], out: Path) -> CoordinatorKeys:
    """Keys for every site of `sites` (name -> site.toml) and for the coordinator, and a roster that all have accepted.

    What an earlier run left in `out` is used again. Raises RunError where the plan's rules cannot be kept.
    """
    configs = [load_site(path) for path in sites.values()]
    if (out / ROSTER).exists():
        accepted = read_roster(out / ROSTER)
        if accepted.roster.sites == tuple(sorted(sites)):
            for config in configs:  # after a crash some may not have come so far; the others change nothing
                accept_roster(config, accepted)
            return CoordinatorKeys(load_coordinator_key(out / COORDINATOR_KEY), accepted.roster)
        raise RunError(f"{out / ROSTER}: was signed by other sites; choose another --out.")
    key = _coordinator_key(out)
    signed = roster.propose([_card(config) for config in configs], **_rules(plan, key))
    for config in configs:
        approve_roster(config, signed.roster)
        signed = roster.add_signature(signed, sign_roster(config, signed), previous=None)
    for config in configs:
        accept_roster(config, signed)
    write_atomic(out / ROSTER, to_json(signed))
    return CoordinatorKeys(key, signed.roster)


def _rules(plan: Plan, key: SigningKey) -> dict[str, Any]:
    rules = plan.aggregation
    return {
        "federation": plan.federation.name,
        "coordinator": key.verify_key,
        "colluding": rules.colluding_sites,
        "min_sites": rules.least_sites,
        "missing": rules.absent_members,
    }


def _coordinator_key(out: Path) -> SigningKey:
    if not (out / COORDINATOR_KEY).exists():
        write_private(out / COORDINATOR_KEY, key_to_pem(SigningKey.new(os.urandom)))
    return load_coordinator_key(out / COORDINATOR_KEY)


def _card(config: SiteConfig) -> roster.EnrolCard:
    if not (config.keys / KEY).exists():
        make_keys(config, os.urandom)
    return enrol_card(config)
