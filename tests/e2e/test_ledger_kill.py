"""kill -9 at random instants of a round: the ledger opens, its chain verifies, and it never lacks a release that left.

The process that is killed holds no training code. It hands over each release through a pipe, whole or not at all, and
begins with the last round again: the same stored bytes, for which it must not be charged again.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client.ledger.ledger import LEDGER, Ledger
from client.ledger.verify import Report, verify_ledger
from tests.client.ledgers import KEY

SIZE = 64  # bytes of a release; a pipe takes so few in one piece
CLIENT = """
import hashlib, os, sys
from pathlib import Path
from client.ledger.ledger import Ledger
from tests.client.ledgers import KEY, entry, receipt
assert not {"torch", "pandas", "flwr"} & set(sys.modules)
os.write(1, b"+")
with Ledger(Path(sys.argv[1]), KEY) as ledger:
    number = max(ledger.rounds("heart"), 1)
    while True:
        paid = ledger.spend(entry(number), again=b"header of round %d" % number)
        left = hashlib.sha512(b"release %d" % number).digest()
        ledger.write_receipt(receipt(number, paid=paid, left=hashlib.sha256(left).digest()))
        os.write(1, left)
        number += 1
"""


def _killed(path: Path, chance: random.Random) -> list[bytes]:
    """What left a client before it was killed."""
    command = [sys.executable, "-c", CLIENT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        read = process.stdout.fileno()
        assert os.read(read, 1) == b"+", process.stderr.read()
        got = b""
        for _ in range(chance.randrange(6)):  # 0: while it opens the ledger
            got += os.read(read, SIZE)
        for _ in range(chance.randrange(60_000)):  # some milliseconds, a round takes about as long
            pass
        os.kill(process.pid, signal.SIGKILL)
        while more := os.read(read, 1 << 16):
            got += more
        errors = process.stderr.read()
    assert process.returncode == -signal.SIGKILL and errors == b"", errors
    assert len(got) % SIZE == 0
    return [got[at : at + SIZE] for at in range(0, len(got), SIZE)]


def _check(report: Report, left: list[bytes]) -> None:
    assert report.ok, report.broken
    entries = {record.number: body for record, body in report.of("entry")}
    receipts = {body["sha256"]: body for _, body in report.of("receipt")}
    for release in left:
        body = receipts[hashlib.sha256(release).hexdigest()]
        assert entries[body["entry"]]["step"] == body["step"]


def _kill(folder: Path, kills: int, seed: int) -> int:
    """How many kills met a round between its entry and its release."""
    chance, path, left, between = random.Random(seed), folder / LEDGER, [], 0
    for _ in range(kills):
        left += _killed(path, chance)
        if path.exists() or left:  # else it was killed before it made the file
            _check(verify_ledger(path, KEY.verify_key), left)  # as the kill has left it
        with Ledger(path, KEY) as ledger:
            charged = [one.event.count for one in ledger.spent()]
            assert sum(charged) == 20 * ledger.rounds("heart") >= 20 * len(set(left)), "charged once for each round"
            between += ledger.rounds("heart") > len(set(left))
        _check(verify_ledger(path, KEY.verify_key), left)
    assert len(set(left)) > 1
    return between


@pytest.mark.parametrize("seed", [160])
def test_twelve_kills_leave_a_ledger_that_lacks_nothing(seed: int, tmp_path: Path) -> None:
    _kill(tmp_path, 12, seed)


@pytest.mark.torture
def test_two_hundred_kills_leave_a_ledger_that_lacks_nothing(tmp_path: Path) -> None:
    between = 0
    for seed in range(10):
        (tmp_path / str(seed)).mkdir()
        between += _kill(tmp_path / str(seed), 20, seed)
    assert between > 0, "some kills must land inside a round"
