"""A runner whose task never ends, as one that offers its answer to a SuperNode which is gone: for test_runner_ends.py.

python stuck_runner.py FOLDER NOTE      FOLDER as a gatekeeper's; NOTE: written when the task has begun
"""

import sys
import time
from pathlib import Path

from client import runner

folder, port, note = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])


def serve_for_ever(self: runner.Runner) -> bool:
    note.touch()
    while True:
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001  Flower's retries swallow everything too
            continue


runner.Runner.serve_one = serve_for_ever
runner.prepare()
names = {
    "--root-certificates": "authority.crt",
    "--auth-supernode-private-key": "node.key",
    "--client-certificate": "certificate.crt",
    "--client-key": "tls.key",
    "--state": "state",
}
files = [word for option, name in names.items() for word in (option, str(folder / name))]
sys.exit(runner.serve("0" * 64, ["--superlink", f"127.0.0.1:{port}", *files]))
