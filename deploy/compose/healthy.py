"""`healthy.py PORT`: is it open? `healthy.py FOLDER`: does what is served from this folder run, and is it ready?

Standard library only, because it is asked every few seconds.
"""

import json
import socket
import sys
from pathlib import Path

if not sys.argv[1].isdigit():
    told = json.loads((Path(sys.argv[1]) / "state" / "serve.json").read_bytes())
    sys.exit(0 if told["ready"] and all(part["pid"] for part in told["parts"].values()) else 1)
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=3):
    pass
