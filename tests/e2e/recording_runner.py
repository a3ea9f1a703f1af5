"""A site's runner that also writes down, for each reply that it hands to Flower, what its receipt has to say of it.

    python -m tests.e2e.recording_runner --app FOLDER -- …        as client.runner

One line of JSON for each reply, in sent.jsonl beside the site's site.toml.
"""

import json
import sys
from pathlib import Path
from typing import Any

from flwr.app import Context, Message

from client import runner
from tests.wire import Passed

SENT = "sent.jsonl"
_push = runner.push_message


def _write_down(client: Any, message: Message, context: Context) -> None:
    with open(Path(str(context.node_config["site-config"])).with_name(SENT), "a") as file:
        file.write(json.dumps(vars(Passed.of(message))) + "\n")
    _push(client, message, context)


def sent(home: Path) -> list[Passed]:
    """What the runner of this site has sent so far."""
    return [Passed(**json.loads(line)) for line in (home / SENT).read_text().splitlines()]


if __name__ == "__main__":
    runner.push_message = _write_down
    sys.exit(runner.main())
