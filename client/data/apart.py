"""A site's tables, read in a process that ends afterwards: what reading takes is not kept for as long as a site runs.

pandas, PyArrow and pandera hold some 80 MB once they are imported, and more with what they have freed; a site at rest
needs none of it. So the runner imports none of them, and keeps the arrays.
"""

import contextlib
import signal
import subprocess
import sys

from client.config import SiteConfig
from client.data.pipe import CutOff, receive_table, send_request
from client.data.site_table import SiteTable
from client.network.parent import ends_with_me
from common.errors import ConsiliumError
from common.plan import Plan

READER = [sys.executable, "-P", "-m", "client.data.reader"]  # -P: no module of the folder that one stands in
_apart = False


def read_apart() -> None:
    """Once in a process that is to stay small: from now on `load_table` reads in another one."""
    global _apart
    _apart = True


def load_table(config: SiteConfig, plan: Plan) -> SiteTable:
    """`table.load_table`, in this process or, after `read_apart`, in one that ends afterwards."""
    if _apart:
        return load_table_apart(config, plan)
    from client.data import table  # here, for pandas comes with it

    return table.load_table(config, plan)


def load_table_apart(config: SiteConfig, plan: Plan) -> SiteTable:
    """What `table.load_table` gives and raises, from another process, which is gone when this returns.

    An error of that process which is not ours becomes a ConsiliumError that tells its class and its places in the code,
    and no value. The rows pass through a pipe.
    """
    reader = subprocess.Popen(READER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=ends_with_me())
    try:
        with contextlib.suppress(BrokenPipeError), reader.stdin as question:  # type: ignore[union-attr]
            send_request(question, config, plan)  # where it has ended already, the answer shows it
        with reader.stdout as answer:  # type: ignore[union-attr]
            return receive_table(answer)
    except CutOff:
        raise ConsiliumError(
            f"{config.source}: the process that reads the tables {_ended(reader.wait())} before it had read them."
        ) from None
    finally:
        reader.kill()
        reader.wait()


def _ended(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
