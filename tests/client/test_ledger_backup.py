"""The backup of docs/operations.md, typed as it stands after a crash: the copy has every record."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.ledger.ledger import LEDGER
from client.ledger.place import Place
from client.secure.store import STORE
from experiments.cli import app
from tests.client.network.conftest import invite, make_site

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()
ROUNDS = 20
_CRASH = """
import os, sys
from pathlib import Path
from client.config import load_site
from client.ledger.ledger import LEDGER, Ledger
from client.secure.keys import load_signing_key
from tests.client.ledgers import rounds
ledger = Ledger(Path("north") / LEDGER, load_signing_key(load_site("north")))
rounds(ledger, range(1, int(sys.argv[1]) + 1))
if sys.argv[2:] == ["closed"]:
    ledger.close()
os.kill(os.getpid(), 9)
"""


def consilium(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("how", ["crashed", "closed"])
def test_the_backup_of_a_crashed_ledger_has_every_record(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_site("north")
    consilium("site", "init", "north")
    consilium("site", "join", "north", invite(lambda *words: consilium(*words))["north"])
    words = [sys.executable, "-c", _CRASH, str(ROUNDS), how]
    died = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert died.returncode == -signal.SIGKILL
    assert (Path("north") / f"{LEDGER}-wal").exists() is (how == "crashed")
    Path("north/keys", STORE).touch(mode=0o600)

    command = re.findall(r"^```bash\n(tar --create --file backup\.tar .*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    back = re.findall(r"^tar --extract --file backup\.tar$", TEXT, re.MULTILINE)
    assert len(command) == len(back) == 1
    subprocess.run(["bash", "-euo", "pipefail", "-c", command[0]], cwd="north", check=True)
    Path("copy").mkdir()
    Path("north/backup.tar").rename("copy/backup.tar")
    subprocess.run(["bash", "-euc", back[0]], cwd="copy", check=True)
    said = consilium("site", "receipts", "verify", "copy")
    assert f"{1 + 2 * ROUNDS} records, all of them as they were written" in said
    assert "not in the place where it was last written" in said and Place(Path("copy") / LEDGER).names() == set()
    assert not Path("copy/keys", STORE).exists() and not Path("copy/keys/at-rest.key").exists()


def test_the_list_of_patients_who_object_belongs_to_the_backup() -> None:
    backup = TEXT.split("\n## Backup\n", 1)[1].split("\n## ", 1)[0]
    assert "`exclude_patients`" in backup
