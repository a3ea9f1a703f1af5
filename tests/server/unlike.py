"""A federation in which one hospital's 'died' is the reversed code, and what is asked about it."""

import json
from typing import Any

import numpy as np
import pandas as pd

from client.app import app
from client.comparison import read_findings
from client.config import load_site
from client.policy.policy import POLICY_FILE, SIMULATED, write_policy
from server.exchange import Question
from server.journal import EVENTS
from tests.conftest import small_table
from tests.messages import code_of
from tests.secure import NAMES, Federation


def tables(count: int = 4, *, wrong: str | None = "south") -> dict[str, pd.DataFrame]:
    """`count` hospitals of 240 patients; in one of them 'died' is the reversed code."""
    result = {name: small_table(i, rows=240) for i, name in enumerate(NAMES[:count])}
    if wrong is not None:
        result[wrong] = result[wrong].assign(died=1 - result[wrong]["died"])
    return result


def silent(federation: Federation, site: str) -> None:
    rules = SIMULATED | {"limits": SIMULATED["limits"] | {"tell_unlike": False}}
    write_policy(federation.sites[site].parent / POLICY_FILE, rules)


def events(federation: Federation, name: str) -> list[dict[str, Any]]:
    lines = (federation.out / EVENTS).read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def findings(federation: Federation, site: str) -> tuple[str, ...]:
    return read_findings(load_site(federation.sites[site]), federation.plan.hash)


def ask_site(federation: Federation, vector: np.ndarray | None, *, kind: str = "query.compare", stage: int = 0) -> str:
    """With which code 'south' refuses; empty for an answer."""
    question = Question(kind, federation.plan.hash, stage=stage, vector=vector)
    return code_of(app(question.to(1), federation.context("south")))
