"""The small federation under patient-level privacy, and noise that can be made again."""

import hashlib
from collections.abc import Callable
from typing import Any

from common.plan import Plan, plan_from_dict
from tests.conftest import small_content


def private_plan(
    *,
    noise: str = "shared",
    row: str | None = None,
    min_sites: int = 3,
    secure: bool = True,
    colluding_sites: int = 0,
    tasks: list[dict[str, Any]] | None = None,
    features: list[dict[str, Any]] | None = None,
    **privacy: Any,
) -> Plan:
    """noise_multiplier 1 and 1,000 expected patients unless `privacy` says otherwise."""
    content = small_content()
    content["aggregation"] = {"secure": secure, "min_sites": min_sites, "colluding_sites": colluding_sites}
    content["data"] |= {"row": row} if row else {}
    content["tasks"] = tasks or content["tasks"]
    content["features"] = features or content["features"]
    rules = {"unit": "patient", "noise": noise, "expected_patients": 1000} | privacy
    rules |= {} if "target_epsilon" in privacy else {"noise_multiplier": privacy.get("noise_multiplier", 1.0)}
    content["privacy"] = rules
    return plan_from_dict(content, source="private.toml")


def seeded(seed: int) -> Callable[[int], bytes]:
    """A repeatable source of bytes; every call gives others."""
    calls = iter(range(10**9))
    return lambda size: hashlib.shake_256(f"{seed}/{next(calls)}".encode()).digest(size)
