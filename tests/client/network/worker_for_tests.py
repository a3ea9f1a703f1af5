"""A worker for the supervisor's tests: two processes, as runner and SuperNode are, that write down who they are.

python worker_for_tests.py FOLDER MODE      MODE: serve, deaf (the inner one ignores SIGTERM), unready
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from client.network.parent import ends_with_me
from client.network.supervisor import NOT_READY

folder, mode = Path(sys.argv[1]), sys.argv[2]


def note(name: str) -> None:
    partial = folder / f".{name}.{os.getpid()}"
    partial.write_text(str(os.getpid()))
    partial.replace(folder / name)


if mode == "inner" or mode == "inner-deaf":
    if mode == "inner-deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("inner")
    while True:
        time.sleep(60)
if mode == "unready":
    sys.exit(NOT_READY)
inner = "inner-deaf" if mode == "deaf" else "inner"
child = subprocess.Popen([sys.executable, __file__, str(folder), inner], preexec_fn=ends_with_me())
signal.signal(signal.SIGTERM, lambda *_: (child.terminate(), sys.exit(0)))
while not (folder / "inner").exists():
    time.sleep(0.01)
note("worker")
sys.exit(child.wait())
