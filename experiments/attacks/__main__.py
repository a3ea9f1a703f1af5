"""`python -m experiments.attacks docs/attacks.md` plays every attack and writes the document."""

import sys
from pathlib import Path

from common.files import write_atomic
from experiments.attacks.document import text

if len(sys.argv) != 2:
    sys.exit("usage: python -m experiments.attacks docs/attacks.md")
write_atomic(Path(sys.argv[1]), text().encode())
