"""One site that answers as deployed, for laws about what it refuses and what it keeps."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict

from client.app import app
from client.approval.approval import approve
from client.config import SiteConfig, load_site
from client.ledger.file import LEDGER
from client.ledger.reading import read_bodies
from client.policy.policy import POLICY_FILE, SIMULATED, write_policy
from client.refusals import CODES
from client.sessions import close_sessions
from common.associations import Associations
from common.layouts import survey_of
from common.plan import Plan
from server.exchange import Question
from server.journal import PLAN
from tests.conftest import small_plan
from tests.secure import broadcast

VALUES = ("query.declare", "query.survey", "query.compare", "train", "evaluate", "query.finish")
"""The kinds of question of which the answer, or what is written at the site, depends on patients."""
PROTOCOL = ("query.cards", "query.crosscheck", "query.unmask", "query.close")


@dataclass(frozen=True)
class OneSite:
    """The site `north`. out: holds the plan that its operator put there, and sites/north."""

    out: Path

    @property
    def folder(self) -> Path:
        return self.out / "sites" / "north"

    @property
    def config(self) -> SiteConfig:
        return load_site(self.folder / "site.toml")

    @property
    def log(self) -> str:
        return (self.folder / "site.log").read_text()

    def adopt(self, plan: Plan, *, approved: bool = True) -> None:
        """The operator puts this plan in the place of the last one, and approves it."""
        (self.out / PLAN).write_bytes(plan.canonical)
        if approved:
            approve(self.config, plan)

    def allow(self, **sections: dict[str, Any]) -> None:
        """A policy as virtual sites have it, with these keys changed; the site is started again with it."""
        content = {name: SIMULATED[name] | sections.get(name, {}) for name in SIMULATED}
        write_policy(self.folder / POLICY_FILE, content)
        close_sessions()

    def ask(self, plan: Plan, kind: str, number: int = 1, *, shift: float = 0.0, protocol: bytes = b"") -> Message:
        """The answer to what an honest coordinator would ask. number: of the round of training."""
        stages = {"query.survey": 1, "evaluate": 2 if plan.privacy.per_patient else 1}
        question = Question(
            kind,
            plan.hash,
            number if kind == "train" else 0,
            stages.get(kind, 0),
            _vector(plan, kind, shift),
            protocol,
        )
        return app(question.to(1), Context(1, 1, {"site-config": str(self.folder / "site.toml")}, RecordDict(), {}))

    def records(self, *kinds: str) -> list[dict[str, Any]]:
        """The bodies of the ledger's records of these kinds; all without any."""
        path = self.folder / LEDGER
        bodies = read_bodies(path) if path.exists() else []
        return [body for body in bodies if not kinds or body["record"] in kinds]

    @property
    def receipts(self) -> list[dict[str, Any]]:
        """Those of releases."""
        return [body for body in self.records("receipt") if not body["code"]]

    def assert_refused(self, reply: Message, code: str, *, receipt: bool = True) -> None:
        """`reply` is this code with its fixed sentence and nothing else; the ledger's last record says the same.

        receipt: False where the ledger itself is what fails.
        """
        number, sentence = CODES[code]
        assert reply.has_error() and not reply.has_content(), f"expected {code}, but it was answered"
        assert (reply.error.code, reply.error.reason) == (number, f"{code}: {sentence}")
        assert f" {code}: " in self.log.splitlines()[-1]
        if receipt:
            last = self.records()[-1]
            assert (last["record"], last["code"]) == ("receipt", code)
            assert (last["release"], last["bytes"], last["sha256"], last["entry"]) == ("", 0, "", None)
            assert last["norm_before_clip"] is last["norm_after_clip"] is None


def _vector(plan: Plan, kind: str, shift: float) -> np.ndarray | None:
    if kind == "query.declare":
        return None
    if kind == "query.survey":
        return survey_of(plan).first_edges().ravel() + np.float32(shift)
    if kind == "query.compare":
        layout = Associations(plan)
        return np.full(layout.edges_size + layout.size, shift, dtype=np.float32)
    return broadcast(plan, shift=shift, final=kind != "train")


def per_patient(**sections: Any) -> Plan:
    """The small plan in the open, with each site's own noise for patients."""
    privacy = {"unit": "patient", "noise": "local", "noise_multiplier": 1.0} | sections.pop("privacy", {})
    return small_plan(privacy=privacy, **sections)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Until it ends, this process can make no file longer than `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
