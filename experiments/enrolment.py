"""Enrolment of virtual sites: the steps that people take at real ones, in one process. No step is left out.

Every site makes its key, approves and signs the roster, and accepts it with all its checks. Only the approval is no
person's, as no patient is.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from client.approval.approval import approve
from client.config import SiteConfig, load_site
from client.policy.policy import SecureRules, load_policy
from client.secure import keys
from client.secure.keys import KEY, accept_roster, approve_roster, enrol_card, make_keys, sign_roster
from common.errors import Refusal, RunError
from common.files import exists, write_atomic, write_private
from common.plan import Plan
from common.secagg import roster
from common.secagg.json_view import to_json
from common.secagg.key_pem import key_to_pem
from common.secagg.messages import Roster
from common.secagg.primitives import SigningKey
from server.roster import load_coordinator_key, read_roster
from server.secure_state import CoordinatorKeys

COORDINATOR_KEY, ROSTER = "coordinator.key", "roster.json"


def enrol_virtual(plan: Plan, sites: Mapping[str, Path], out: Path) -> CoordinatorKeys:
    """Keys for every site of `sites` (name -> site.toml) and for the coordinator, and a roster that all have accepted.

    What an earlier run left in `out` is used again. Raises RunError where it is not whole, or not of these sites.
    """
    configs = [load_site(path) for path in sites.values()]
    earlier = exists(out / COORDINATOR_KEY) or any(exists(config.keys / keys.ROSTER) for config in configs)
    try:
        return _enrol(plan, configs, out)
    except Refusal:
        if not earlier:
            raise
        raise _misfit(out) from None


def approve_virtual(plan: Plan, sites: Iterable[Path]) -> None:
    """A key for every site that has none, and its operator's approval of `plan` as a person would give it."""
    for path in sites:
        config = load_site(path)
        _make_key(config)
        approve(config, plan)


def check_rules(plan: Plan, sites: Iterable[SiteConfig]) -> None:
    """Raises ConsiliumError if no roster of these sites can keep the plan's rules and theirs; writes nothing."""
    configs = {config.name: config for config in sites}
    own = {name: SigningKey.new(os.urandom) for name in configs}  # a trial: these keys sign nothing that is kept
    cards = [roster.enrol(name, key) for name, key in own.items()]
    trial = roster.propose(cards, **_rules(plan, SigningKey.new(os.urandom)))
    for name, config in configs.items():
        rules = _secure_rules(config)
        try:
            roster.check_proposal(
                trial,
                previous=None,
                site=name,
                verify_key=own[name].verify_key,
                least_cohort=rules.min_cohort,
                least_colluding=rules.colluding_sites,
            )
        except Refusal as refusal:
            raise RunError(f"{config.source}: {name} would refuse this plan's roster: {refusal}") from None


def _secure_rules(config: SiteConfig) -> SecureRules:
    """Those of the site's policy; the defaults for a table without one."""
    return load_policy(config.policy).secure if not config.bare and exists(config.policy) else SecureRules()


def _enrol(plan: Plan, configs: list[SiteConfig], out: Path) -> CoordinatorKeys:
    if exists(out / ROSTER):
        accepted = read_roster(out / ROSTER)
        if accepted.roster.sites != tuple(sorted(config.name for config in configs)):
            raise RunError(f"{out / ROSTER}: was signed by other sites; choose another --out.")
        if not _whole(accepted.roster, configs, out):
            raise _misfit(out)
        for config in configs:  # after a crash some may not have come so far; the others change nothing
            accept_roster(config, accepted)
        return CoordinatorKeys(load_coordinator_key(out / COORDINATOR_KEY), accepted.roster)
    if not all(_unfinished(config) for config in configs):
        raise _misfit(out)
    key = _coordinator_key(out)
    signed = roster.propose([_card(config) for config in configs], **_rules(plan, key))
    for config in configs:
        approve_roster(config, signed.roster)
        signed = roster.add_signature(signed, sign_roster(config, signed), previous=None)
    write_atomic(out / ROSTER, to_json(signed))  # before any site has accepted it, so that a crash leaves no orphan
    for config in configs:
        accept_roster(config, signed)
    return CoordinatorKeys(key, signed.roster)


def _whole(accepted: Roster, configs: list[SiteConfig], out: Path) -> bool:
    """Whether every file that belongs to this roster is there, with the keys that it names."""
    needed = [out / COORDINATOR_KEY, *(config.keys / name for config in configs for name in (KEY, keys.APPROVED))]
    if not all(exists(path) for path in needed):
        return False
    present = {config.name: keys.load_signing_key(config).verify_key for config in configs}
    named = dict(zip(accepted.sites, accepted.keys, strict=False))
    return present == named and load_coordinator_key(out / COORDINATOR_KEY).verify_key == accepted.coordinator


def _unfinished(config: SiteConfig) -> bool:
    """Whether this site may be where a crash before the roster's end left it, or has not begun."""
    here = [exists(config.keys / name) for name in (KEY, keys.APPROVED, keys.ROSTER)]
    return keys.is_unused(config) or here == [True, True, False]


def _misfit(out: Path) -> RunError:
    return RunError(
        f"{out}: {ROSTER}, {COORDINATOR_KEY} and the keys in sites do not fit together; start again in an empty folder."
    )


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
    if not exists(out / COORDINATOR_KEY):
        write_private(out / COORDINATOR_KEY, key_to_pem(SigningKey.new(os.urandom)))
    return load_coordinator_key(out / COORDINATOR_KEY)


def _card(config: SiteConfig) -> roster.EnrolCard:
    _make_key(config)
    return enrol_card(config)


def _make_key(config: SiteConfig) -> None:
    if not exists(config.keys / KEY):
        make_keys(config, os.urandom)
