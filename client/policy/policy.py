"""policy.toml: what a hospital allows, read by its own site only, and held against every plan. Nothing overrides it."""

import hashlib
import tomllib
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from client.policy.rules import Policy, SecureRules, SiteName
from client.policy.text import TEMPLATE, first_mistake
from common.errors import ConsiliumError, PlanError, Refusal
from common.files import exists, read_bytes, write_atomic
from common.plan import Plan
from common.privacy.events import UNNOISED_KINDS

__all__ = [
    "POLICY_FILE",
    "SIMULATED",
    "Policy",
    "SecureRules",
    "SiteName",
    "changed_on_disk",
    "check_hours",
    "check_plan",
    "check_unchanged",
    "load_policy",
    "objections",
    "write_policy",
    "write_template",
]
POLICY_FILE = "policy.toml"
# A virtual site whose owner wrote no policy: nothing leaves the process that it is simulated in.
SIMULATED: dict[str, Any] = {
    "secure": {"required": False},
    "limits": {"max_clip_norm": 1e300, "max_grad_norm": 1e300, "max_rounds": 1_000_000, "min_patients": 5},
    "budget": {"epsilon_per_study": 1e6, "epsilon_per_year": 1e6, "allow_unnoised": list(UNNOISED_KINDS)},
}


def load_policy(path: Path) -> Policy:
    """The policy in `path`. Raises PlanError: one sentence with file, line, key, what was found and what is allowed."""
    try:
        if not exists(path):
            raise PlanError(f"{path}: no such file; `consilium site init` writes one for this hospital to complete.")
        data = read_bytes(path)
    except ConsiliumError as error:
        raise PlanError(str(error)) from None
    try:
        text = data.decode()
        content = tomllib.loads(text)
        return Policy.model_validate(content).with_digest(hashlib.sha256(data).hexdigest())
    except ValidationError as error:
        raise PlanError(f"{path}: {first_mistake(error, text)}") from None
    except RecursionError:
        raise PlanError(f"{path}: not valid TOML: arrays or tables are nested too deeply.") from None
    except ValueError as error:  # TOMLDecodeError, which names the line, UnicodeDecodeError, and what int() refuses
        raise PlanError(f"{path}: not valid TOML: {error}.") from None


def write_policy(path: Path, content: dict[str, Any]) -> Policy:
    """Write `content` (section -> key -> value) to `path`, for a simulation, and give it back as read from there."""
    write_atomic(path, tomli_w.dumps(content).encode(), private=True)
    return load_policy(path)


def write_template(path: Path) -> bool:
    """Write the commented policy that a person has to complete, unless something is there; whether it was written."""
    if exists(path):
        return False
    write_atomic(path, TEMPLATE.encode(), private=True)
    return True


def changed_on_disk(path: Path, policy: Policy) -> bool:
    """Whether `path` no longer holds the bytes that `policy` was read from."""
    return not exists(path) or hashlib.sha256(read_bytes(path)).hexdigest() != policy.digest


def check_unchanged(path: Path, policy: Policy) -> None:
    """Raises Refusal `policy_changed`: what is under way was allowed by other rules."""
    if changed_on_disk(path, policy):
        raise Refusal("policy_changed", f"{path}: was edited since this site started; start the site again.")


def check_hours(policy: Policy, now: datetime) -> None:
    """now: local time. Raises Refusal `outside_hours`."""
    if not policy.limits.open_at(now):
        raise Refusal("outside_hours", f"it is {now:%H:%M}; limits.hours allows training in {policy.limits.hours}.")


def check_plan(policy: Policy, plan: Plan, *, columns: Collection[str], unnoised: Collection[str], code: str) -> None:
    """Raises the first Refusal of `objections`."""
    for refusal in objections(policy, plan, columns=columns, unnoised=unnoised, code=code):
        raise refusal


def objections(
    policy: Policy, plan: Plan, *, columns: Collection[str], unnoised: Collection[str], code: str
) -> Iterator[Refusal]:
    """Everything for which this site refuses `plan`, each with its stable code.

    columns: of this site's own tables, that the plan reads (`columns_read`). unnoised: the kinds of release that it
    makes without noise, of `UNNOISED_KINDS`. code: the hash of the installed code, hexadecimal.
    """
    yield from _about_sums(policy, plan)
    yield from _about_limits(policy, plan, columns)
    limits = policy.limits
    if limits.approved_plans and not plan.hash.startswith(limits.approved_plans):
        yield Refusal("plan_not_listed", f"plan {plan.hash[:16]} is not in limits.approved_plans.")
    if limits.approved_code and not code.startswith(limits.approved_code):
        yield Refusal("code_not_listed", f"the installed code {code[:16]} is not in limits.approved_code.")
    for kind in UNNOISED_KINDS:
        if kind in unnoised and kind not in policy.budget.allow_unnoised:
            yield Refusal(
                "unnoised_not_allowed",
                f"the plan releases {kind!r} without noise; budget.allow_unnoised is "
                f"{list(policy.budget.allow_unnoised)}.",
            )


def _about_sums(policy: Policy, plan: Plan) -> Iterator[Refusal]:
    own, asked = policy.secure, plan.aggregation
    if not asked.secure:
        if own.required:
            yield Refusal("plain_sums_refused", "the plan says aggregation.secure = false; secure.required is true.")
        return
    if asked.least_sites < own.min_cohort:
        yield Refusal(
            "cohort_below_policy",
            f"the plan promises sums over {asked.least_sites} sites; secure.min_cohort is {own.min_cohort}.",
        )
    if asked.colluding_sites < own.colluding_sites:
        yield Refusal(
            "collusion_below_policy",
            f"the plan tolerates aggregation.colluding_sites = {asked.colluding_sites}; secure.colluding_sites asks "
            f"for {own.colluding_sites}.",
        )


def _about_limits(policy: Policy, plan: Plan, columns: Collection[str]) -> Iterator[Refusal]:
    own, clip, grad = policy.limits, plan.aggregation.clip_norm, plan.privacy.max_grad_norm
    if clip > own.max_clip_norm:
        yield Refusal(
            "clip_norm_too_large",
            f"the plan says aggregation.clip_norm = {clip:g}; limits.max_clip_norm is {own.max_clip_norm:g}.",
        )
    if plan.privacy.per_patient and grad > own.max_grad_norm:
        yield Refusal(
            "grad_norm_too_large",
            f"the plan says privacy.max_grad_norm = {grad:g}; limits.max_grad_norm is {own.max_grad_norm:g}.",
        )
    if plan.training.rounds > own.max_rounds:
        yield Refusal(
            "too_many_rounds",
            f"the plan says training.rounds = {plan.training.rounds}; limits.max_rounds is {own.max_rounds}.",
        )
    for code, key, allowed, named in (
        ("task_not_allowed", "tasks", own.tasks, [task.name for task in plan.tasks]),
        ("feature_not_allowed", "features", own.features, [feature.name for feature in plan.inputs]),
        ("column_not_allowed", "columns", own.columns, columns),
    ):
        others = [] if allowed is None else [name for name in named if name not in allowed]
        if others:
            yield Refusal(code, f"the plan reads {', '.join(others)}; limits.{key} allows {', '.join(allowed or ())}.")
