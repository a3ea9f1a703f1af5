"""The other end of apart.py: reads one site's tables, answers, and ends.

    python -m client.data.reader        (the request on standard input, the answer on standard output)

From the request on, nothing is shown: whatever a library prints, and what Python says of an error that it cannot raise,
may hold a cell of a table.
"""

import os
import sys

from client.data.pipe import CutOff, receive_request, send_error, send_table
from client.data.table import load_table


def main() -> int:
    """Exit status 1 where the request or the answer is cut off."""
    with open(os.devnull, "wb") as nowhere, open(os.dup(1), "wb") as answer:  # in this order: 2 may be free
        for descriptor in (1, 2):
            os.dup2(nowhere.fileno(), descriptor)
        try:
            table = load_table(*receive_request(sys.stdin.buffer))
        except CutOff:
            return 1
        except Exception as error:  # noqa: BLE001  it reaches the site's log, without a value
            send_error(answer, error)
        else:
            send_table(answer, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
