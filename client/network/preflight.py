"""`consilium site check` without a plan: all that has to be in order before a start, each finding with its remedy.

Every check is asked, also after one that fails; what rests on a missing part says so in its own words.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from client import brake
from client.approval.approval import check_approval
from client.comparison import read_findings
from client.config import SiteConfig
from client.data.table import load_table
from client.ledger.file import LEDGER
from client.ledger.opening import BEGUN, look
from client.network.app_stub import find_app
from client.network.home import Home
from client.network.reach import check_connection
from client.network.status import SOON_DAYS
from client.network.worker import check_network
from client.policy.policy import check_hours, load_policy
from client.secure.keys import enrol_card, load_roster, load_signing_key
from common.errors import ConsiliumError, Refusal
from common.files import exists, read_bytes, read_plan
from common.network.certificates import expires
from common.plan import Plan

Level = Literal["ok", "warning", "error"]
LEAST_BYTES, AMPLE_BYTES = 256 * 2**20, 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """level: an error keeps this hospital from taking part. about: a word or two. words: what was found and, where
    something is to be done, what."""

    level: Level
    about: str
    words: str


Check = Callable[[SiteConfig, Home], Iterator[Finding]]


def preflight(config: SiteConfig, *, app: Path | None = None) -> list[Finding]:
    """Every finding, in the order in which a person would mend them."""
    home = Home.of(config)
    checks: list[tuple[str, Check]] = [
        ("policy", _policy),
        ("signing key", _signing_key),
        ("app", lambda config, home: _app(app)),
        ("network keys", _network_keys),
        ("plan", _plan),
        ("data", _data),
        ("roster", _roster),
        ("ledger", _ledger),
        ("certificate", _certificate),
        ("connection", lambda config, home: (Finding(*each) for each in check_connection(config, home))),
        ("disk", _disk),
        ("device", _device),
        ("brake", _brake),
    ]
    findings: list[Finding] = []
    for about, check in checks:
        try:
            findings += check(config, home)
        except ConsiliumError as error:
            findings.append(Finding("error", about, str(error)))
    return findings


def _policy(config: SiteConfig, home: Home) -> Iterator[Finding]:
    policy = load_policy(config.policy)
    yield Finding("ok", "policy", f"{config.policy} is complete.")
    try:
        check_hours(policy, datetime.now())
    except ConsiliumError as refusal:
        yield Finding("warning", "policy", f"Training would wait now: {refusal}")


def _signing_key(config: SiteConfig, home: Home) -> Iterator[Finding]:
    load_signing_key(config)
    yield Finding("ok", "signing key", f"The key in {config.keys} opens.")


def _app(given: Path | None) -> Iterator[Finding]:
    yield Finding("ok", "app", f"{find_app(given)} is the only app that is served.")


def _network_keys(config: SiteConfig, home: Home) -> Iterator[Finding]:
    check_network(config)
    yield Finding("ok", "network keys", f"The keys in {home.tls_key.parent} open and fit their certificate.")


def _plan(config: SiteConfig, home: Home) -> Iterator[Finding]:
    plan = _approved_plan(config)
    if plan is None:
        yield Finding("error", "plan", "There is no plan yet; the invitation brings one.")
        return
    check_approval(config, plan)
    yield Finding("ok", "plan", f"{config.plan}: plan {plan.hash[:16]} is approved, with the code that is installed.")


def _data(config: SiteConfig, home: Home) -> Iterator[Finding]:
    plan = _approved_plan(config)
    if plan is None:
        yield Finding("warning", "data", "Not looked at: without a plan nobody knows what they have to be.")
        return
    report = load_table(config, plan).report
    yield Finding("ok", "data", f"{report.rows:,} rows of {report.patients:,} patients keep the plan's contract.")
    yield from (Finding("warning", "data", sentence) for sentence in report.warnings)
    for words in read_findings(config, plan.hash):
        yield Finding("warning", "data", f"Unlike the other hospitals, when it was last compared: {words}")


def _roster(config: SiteConfig, home: Home) -> Iterator[Finding]:
    plan, accepted = _approved_plan(config), load_roster(config)
    if plan is not None and not plan.aggregation.secure:
        yield Finding("ok", "roster", "The plan has plain sums, which need none.")
        return
    if accepted is None:
        yield Finding("error", "roster", f"No roster was accepted: `consilium site accept {home.folder} roster.json`.")
        return
    roster, own = accepted.roster, enrol_card(config).card.verify_key
    if config.name not in roster.sites or own not in roster.keys:
        yield Finding(
            "error", "roster", f"Roster {roster.number} does not hold this hospital's present key; ask the coordinator."
        )
        return
    yield Finding("ok", "roster", f"Roster {roster.number} of {roster.federation}: {', '.join(roster.sites)}.")


def _ledger(config: SiteConfig, home: Home) -> Iterator[Finding]:
    key = load_signing_key(config).verify_key
    try:
        count = look(config.folder / LEDGER, verify_key=key, begun=config.keys / BEGUN, time_s=time.time())
    except Refusal as refusal:
        yield Finding("error", "ledger", f"{refusal} Settle it before the site starts.")
        return
    words = f"{count:,} records, all of them as they were written." if count else "It begins with the first release."
    yield Finding("ok", "ledger", words)


def _certificate(config: SiteConfig, home: Home) -> Iterator[Finding]:
    if not exists(home.certificate):
        return
    ends = expires(read_bytes(home.certificate), source=str(home.certificate))
    left = (ends - datetime.now(UTC)).days
    if left < SOON_DAYS:
        words = f"It ends on {ends:%Y-%m-%d}, in {left} days; ask the coordinator for a new invitation."
        yield Finding("warning", "certificate", words)
    else:
        yield Finding("ok", "certificate", f"It is valid until {ends:%Y-%m-%d}.")


def _disk(config: SiteConfig, home: Home) -> Iterator[Finding]:
    for folder in {config.folder, config.keys, home.folder}:
        if exists(folder) and not os.access(folder, os.W_OK):
            yield Finding("error", "disk", f"{folder}: this user may not write there, and has to.")
    free = shutil.disk_usage(config.folder if config.folder.exists() else home.folder).free
    level: Level = "error" if free < LEAST_BYTES else "warning" if free < AMPLE_BYTES else "ok"
    more = "" if level == "ok" else f" Make room: the ledger and the store need some at every round ({AMPLE_BYTES:,})."
    yield Finding(level, "disk", f"{free / 2**30:.1f} GiB are free at {config.folder}.{more}")


def _device(config: SiteConfig, home: Home) -> Iterator[Finding]:
    import torch

    from client.training.device import pick_device

    device = pick_device(config.site.device)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
        yield Finding("ok", "device", f"{name} ({device}), {free / 2**30:.0f} of {total / 2**30:.0f} GiB free.")
    elif config.site.device == "auto" and Path("/proc/driver/nvidia/version").exists():
        words = "This machine has an NVIDIA driver, but PyTorch shows no GPU: the CPU is used."
        yield Finding("warning", "device", words)
    else:
        yield Finding("ok", "device", "The CPU is used.")


def _brake(config: SiteConfig, home: Home) -> Iterator[Finding]:
    if brake.is_paused(config):
        yield Finding("error", "brake", f"This hospital is paused: `consilium site resume {home.folder}`.")


def _approved_plan(config: SiteConfig) -> Plan | None:
    return None if config.plan is None else read_plan(config.plan)
