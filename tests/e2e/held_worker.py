"""A hospital's worker that can be held at a moment of a round, and writes down what it sends.

    python -m tests.e2e.held_worker HOME --app FOLDER        as client.network.worker, with CONSILIUM_HELD_IN=FOLDER

Held while NAME.hold in that folder says `MOMENT ROUND`; NAME.held is there as soon as it is. What was handed to Flower
stands in NAME.sent.jsonl, one line for each reply.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from flwr.app import Context, Message

from client import runner, work
from client.network import worker
from client.request import Request
from client.session import Session
from tests.wire import Passed

FOLDER, POLL_S = "CONSILIUM_HELD_IN", 0.02
TRAINING, REPORTED, SIGNED = "training", "reported", "signed"
"""The round's header is stored and its update not made; its report has arrived; its signature of the survivors has."""
_AT = {"query.crosscheck": REPORTED, "query.unmask": SIGNED}
_app, _push, _train = runner.app, runner.push_message, work.train
_round = 0


def hold_file(folder: Path, site: str) -> Path:
    return folder / f"{site}.hold"


def held_file(folder: Path, site: str) -> Path:
    return folder / f"{site}.held"


def sent_by(folder: Path, site: str) -> list[Passed]:
    """What the worker of this site has sent so far."""
    path = folder / f"{site}.sent.jsonl"
    return [Passed(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _wait_at(moment: str, number: int) -> None:
    folder, site = _place()
    hold = hold_file(folder, site)
    while hold.exists() and hold.read_text() == f"{moment} {number}":
        held_file(folder, site).touch()
        time.sleep(POLL_S)


def _place() -> tuple[Path, str]:
    return Path(os.environ[FOLDER]), Path(sys.argv[1]).name


def _answered(message: Message, context: Context) -> Message:
    if moment := _AT.get(message.metadata.message_type):
        _wait_at(moment, _round)
    return _app(message, context)


def _trained(session: Session, request: Request) -> Any:
    global _round
    _round = request.round
    _wait_at(TRAINING, _round)
    return _train(session, request)


def _written_down(client: Any, message: Message, context: Context) -> None:
    folder, site = _place()
    with open(folder / f"{site}.sent.jsonl", "a") as file:
        file.write(json.dumps(vars(Passed.of(message))) + "\n")
    _push(client, message, context)


if __name__ == "__main__":
    runner.app, runner.push_message, work.train = _answered, _written_down, _trained  # type: ignore[assignment]
    sys.exit(worker.main())
