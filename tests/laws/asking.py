"""Run as a program by test_ledger_faults: what a site of its own process answers.

`asking.py once OUT ROUND` prints the code with which it refuses a round; an empty line for an answer.
`asking.py starved OUT DISK` mounts a small disk on the folder DISK, puts the site there and prints one line for each
state of the disk: its name, the codes of the rounds asked meanwhile, and how many receipts there are.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from client.refusals import CODES
from client.sessions import close_sessions
from common.files import read_plan
from server.identity import act_as_coordinator
from server.journal import PLAN
from tests.laws.one_site import OneSite
from tests.messages import code_of

ROUNDS = 40
_KIB = 1024


def once(out: Path, number: int) -> None:
    print(code_of(OneSite(out).ask(read_plan(out / PLAN), "train", number)))


def starved(out: Path, disk: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    site, filler = OneSite(disk / "out"), disk / "filler"
    shutil.copytree(out, site.out)
    number = _ask("room", site, 1)
    with open(filler, "wb", buffering=0) as file:
        try:
            while file.write(bytes(_KIB)):
                pass
        except OSError:
            pass
    number = _ask("full", site, number)
    filler.unlink()
    number = _ask("room", site, number)
    close_sessions()  # no disk becomes read-only while a file on it is open for writing
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    number = _ask("read-only", site, number)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    _ask("room", site, number)


def _ask(state: str, site: OneSite, number: int) -> int:
    """Ask round by round until one is refused, or three were answered; the round to go on with."""
    plan, codes = read_plan(site.out / PLAN), list[str]()
    patience = ROUNDS if state == "full" else 3
    while len(codes) < patience and not any(codes):
        codes.append(code_of(site.ask(plan, "train", number)))
        number += not codes[-1]
    assert all(code in ("", *CODES) for code in codes)
    print(state, ",".join(code or "answered" for code in codes), len(site.receipts))
    return number


if __name__ == "__main__":
    os.umask(0o077)
    act_as_coordinator()
    command, first, second = sys.argv[1:]
    if command == "once":
        once(Path(first), int(second))
    else:
        starved(Path(first), Path(second))
