"""A hospital's approval of a plan: what was shown to a person, and with which code it runs, signed with the site's key.

One file per plan, approvals/HASH.json in the folder of keys. Without one that fits, nothing runs.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from client.approval.code_hash import code_hash, dependencies
from client.config import SiteConfig
from client.secure.keys import load_signing_key
from common.errors import ConsiliumError, Refusal
from common.files import exists, read_bytes, write_atomic
from common.plan import Plan, plan_from_canonical
from common.secagg.json_view import from_json, to_json
from common.secagg.primitives import verify

APPROVALS = "approvals"
_KIND: Final = "plan"


@dataclass(frozen=True)
class Dependency:
    """A package and its version, as installed."""

    name: str
    version: str


@dataclass(frozen=True)
class Approval:
    """What one person approved. number: counts the approvals of this site, from 1. time: UTC, ISO 8601.

    plan: the canonical text. words: what `consilium site review` showed, what will leave among it.
    """

    site: str
    number: int
    time: str
    plan_hash: str
    plan: str
    code_hash: str
    dependencies: tuple[Dependency, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class SignedApproval:
    """signature: 64 bytes, of the site's key over the approval, as kind "plan"."""

    approval: Approval
    signature: bytes


def approve(config: SiteConfig, plan: Plan) -> Approval:
    """Sign `plan`, with the code and dependencies that are installed now, and keep that.

    Raises ConsiliumError where this site has no key, or the file cannot be written.
    """
    from common.plan.describe import describe  # loads PyTorch, which whoever looks for an approval does not need

    key, last = load_signing_key(config), last_approved(config)
    approval = Approval(
        config.name,
        1 if last is None else last.number + 1,
        datetime.now(UTC).isoformat(timespec="seconds"),
        plan.hash,
        plan.canonical.decode(),
        code_hash(),
        tuple(Dependency(name, version) for name, version in dependencies()),
        tuple(line for heading, lines in describe(plan) for line in (heading, *lines)),
    )
    signed = SignedApproval(approval, key.sign(_KIND, approval))
    write_atomic(approval_path(config, plan.hash), to_json(signed), private=True)
    return approval


def check_approval(config: SiteConfig, plan: Plan) -> None:
    """Raises Refusal unless this site has approved `plan` with the code and the dependencies that are installed.

    `plan_not_approved`, `approval_damaged`, or `code_changed`, whose text names what changed. ConsiliumError where the
    site's key cannot be read.
    """
    path = approval_path(config, plan.hash)
    if not exists(path):
        raise Refusal(
            "plan_not_approved",
            f"{path}: missing; `consilium site review` and `consilium site approve` decide on plan {plan.hash[:16]}.",
        )
    verify_key = load_signing_key(config).verify_key
    try:
        approval = _read(config, path, verify_key)
    except ConsiliumError as error:
        raise Refusal("approval_damaged", f"{error} Approve the plan again.") from None
    changed = changes_of_code(approval)
    if changed:
        raise Refusal("code_changed", f"{path}: since the approval {'; '.join(changed)}. Review and approve again.")


def _read(config: SiteConfig, path: Path, verify_key: bytes) -> Approval:
    """The approval in `path`, to the last byte as this site's key signed it. Raises ConsiliumError."""
    data = read_bytes(path)
    signed = from_json(SignedApproval, data, source=str(path))
    approval = signed.approval
    if to_json(signed) != data or not verify(verify_key, _KIND, approval, signed.signature):
        raise ConsiliumError(f"{path}: is not as this site's present key signed it.")
    plan_hash = hashlib.sha256(approval.plan.encode()).hexdigest()
    if (approval.site, approval.plan_hash, path.name) != (config.name, plan_hash, f"{plan_hash}.json"):
        raise ConsiliumError(f"{path}: is an approval of another plan or by another site.")
    return approval


def changes_of_code(approval: Approval) -> list[str]:
    """What is installed otherwise than when `approval` was given, in words; empty where nothing is."""
    changed = (
        [] if approval.code_hash == code_hash() else [f"the code is {code_hash()[:16]}, not {approval.code_hash[:16]}"]
    )
    then, now = {each.name: each.version for each in approval.dependencies}, dict(dependencies())
    for name in sorted(then | now):
        if then.get(name) != now.get(name):
            changed.append(f"{name} is {now.get(name, 'not installed')}, not {then.get(name, 'absent')}")
    return changed


def last_approved(config: SiteConfig) -> Approval | None:
    """The latest approval of this site that counts; None before the first. Raises ConsiliumError, see `approvals`."""
    return max(approvals(config)[0], key=lambda each: each.number, default=None)


def approvals(config: SiteConfig) -> tuple[list[Approval], list[str]]:
    """The approvals of this site, and for each file that does not count a sentence: damaged, or of an earlier key.

    Raises ConsiliumError where the folder or the site's key cannot be read.
    """
    folder = config.keys / APPROVALS
    if not exists(folder):
        return [], []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise ConsiliumError(f"{folder}: cannot be read: {error.strerror or error}.") from None
    verify_key, found, others = load_signing_key(config).verify_key, [], []
    for path in paths:
        try:
            found.append(_read(config, path, verify_key))
        except ConsiliumError as error:
            others.append(str(error))
    return found, others


def approved_plan(approval: Approval) -> Plan:
    """The plan that was approved. Raises PlanError if this version no longer reads it."""
    return plan_from_canonical(approval.plan.encode(), source=f"approval {approval.number}")


def approval_path(config: SiteConfig, plan_hash: str) -> Path:
    """Where the approval of a plan is kept. plan_hash: hexadecimal."""
    return config.keys / APPROVALS / f"{plan_hash}.json"
