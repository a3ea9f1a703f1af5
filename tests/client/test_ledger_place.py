"""The ledger among two clients, on full and read-only disks, and put back from a copy: nothing is released."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client.ledger.file import LOCK
from client.ledger.ledger import LEDGER, Ledger, accept_restored
from client.ledger.verify import verify_ledger
from tests.client.ledgers import KEY, NOW, entry, receipt, refused, rounds, written


def _elsewhere(path: Path, lines: str) -> subprocess.CompletedProcess[str]:
    """Run `lines` in another process, with the ledger's path as `path`."""
    script = f"import os, resource, signal, sys\nfrom pathlib import Path\nfrom tests.client.ledgers import *\n{lines}"
    return subprocess.run(
        [sys.executable, "-c", f"import sys; path = __import__('pathlib').Path(sys.argv[1])\n{script}", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_client_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    again = "from common.errors import Refusal\ntry: rounds(Ledger(path, KEY), range(9, 10))\n"
    again += "except Refusal as refusal: print(refusal.code)"
    path = tmp_path / LEDGER
    with Ledger(path, KEY) as first:
        rounds(first, range(1, 2))
        refused("ledger_locked", Ledger, path, KEY)
        assert _elsewhere(path, again).stdout == "ledger_locked\n"
    assert _elsewhere(path, again).stdout == ""
    assert len(list(verify_ledger(path, KEY.verify_key).of("receipt"))) == 2


def test_ledgers_that_are_not_alone_take_turns(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    with Ledger(path, KEY, durable=False, alone=False) as one, Ledger(path, KEY, durable=False, alone=False) as other:
        for number in range(0, 20, 2):
            rounds(one, range(number, number + 1))
            rounds(other, range(number + 1, number + 2))
            assert one.spent() == other.spent()
        assert one.rounds("heart") == 20
    assert verify_ledger(path, KEY.verify_key).ok


RESTORED: dict[str, Callable[[Path, Path], object]] = {
    "another file in its place": lambda path, backup: (backup / LEDGER).replace(path),
    "written over": lambda path, backup: path.write_bytes((backup / LEDGER).read_bytes()),
    "removed first": lambda path, backup: (path.unlink(), shutil.copy2(backup / LEDGER, path)),
    "the whole folder": lambda path, backup: (shutil.rmtree(path.parent), shutil.copytree(backup, path.parent)),
    "moved in": lambda path, backup: (shutil.rmtree(path.parent), backup.rename(path.parent)),
}
TOLD = {"another file in its place", "written over", "removed first"}


@pytest.mark.parametrize("how", RESTORED)
def test_an_older_copy_put_back_is_refused_until_its_operator_accepts_it(how: str, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    path = written(tmp_path / "site", 5)
    shutil.copytree(path.parent, tmp_path / "backup")
    with Ledger(path, KEY) as ledger:
        rounds(ledger, range(6, 8))
    RESTORED[how](path, tmp_path / "backup")
    said = refused("ledger_replaced", Ledger, path, KEY)
    assert ("record 15 was written here, but it ends with record 11" in said) == (how in TOLD)
    assert "--accept-restored" in said
    refused("ledger_replaced", Ledger, path, KEY)  # asking again does not help
    accept_restored(path, KEY)
    with Ledger(path, KEY) as ledger:
        assert ledger.spend(entry(8)) == 13
    report = verify_ledger(path, KEY.verify_key)
    ((record, body),) = report.of("restored")
    assert report.ok and record.number == 12
    assert body["found"] == 11 and body["known"] == (15 if how in TOLD else 11)


@pytest.mark.parametrize("many", [1, 5])
def test_a_ledger_that_is_gone_is_missed(many: int, tmp_path: Path) -> None:
    path = written(tmp_path, many)
    path.unlink()
    assert f"record {1 + 2 * many} was written here" in refused("ledger_replaced", Ledger, path, KEY)


def test_a_ledger_that_nobody_touched_goes_on_in_a_folder_with_another_name(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    path = written(tmp_path / "site")
    shutil.copytree(path.parent, tmp_path / "backup")
    path.parent.rename(tmp_path / "moved")
    moved = tmp_path / "moved" / LEDGER
    with Ledger(moved, KEY) as ledger:
        rounds(ledger, range(6, 9))
    assert len(list(moved.parent.glob("*.place-*"))) == 1


def test_a_file_that_is_replaced_under_its_client_is_noticed_at_once(tmp_path: Path) -> None:
    path = written(tmp_path)
    backup = path.read_bytes()
    with Ledger(path, KEY) as ledger:
        path.rename(tmp_path / "aside")
        refused("ledger_replaced", ledger.spend, entry(6))
        path.write_bytes(backup)
        refused("ledger_replaced", ledger.spend, entry(6))


def test_a_write_that_was_cut_off_is_no_replacement(tmp_path: Path) -> None:
    """Killed between the new file of the place and the record: the earlier file is still there."""
    path = tmp_path / LEDGER
    killed = "os.kill(os.getpid(), signal.SIGKILL)"
    lines = "import client.ledger.file as f\nadd = f.LedgerFile.add\nledger = Ledger(path, KEY)\n"
    lines += f"f.LedgerFile.add = lambda self, record: (add(self, record), {killed})\n"
    assert _elsewhere(path, f"{lines}rounds(ledger, range(1, 2))").returncode == -9
    assert len(list(tmp_path.glob("*.place-*"))) == 2
    with Ledger(path, KEY) as ledger:
        assert ledger.spent() == [] and ledger.spend(entry(1)) == 2
    fresh = tmp_path / "fresh" / LEDGER
    killed_first = "import client.ledger.file as f\n"
    killed_first += f"f.LedgerFile.add = lambda self, record: {killed}\nLedger(path, KEY)"
    assert _elsewhere(fresh, killed_first).returncode == -9
    Ledger(fresh, KEY).close()


def test_a_full_disk_refuses_and_leaves_what_was_there(tmp_path: Path) -> None:
    """The file may not grow: the system refuses as a full disk does."""
    path = tmp_path / LEDGER
    lines = """
from common.errors import Refusal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger(path, KEY)
paid = ledger.spend(entry(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
for write in (lambda: ledger.spend(entry(2)), lambda: ledger.write_receipt(receipt(1, paid=paid))):
    try: write()
    except Refusal as refusal: print(refusal.code)
print(len(ledger.spent()), ledger.rounds("heart"))
ledger.write_refusal(receipt(1, code="cannot_record"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(ledger.write_receipt(receipt(1, paid=paid)))
"""
    done = _elsewhere(path, lines)
    assert done.stdout.split() == ["cannot_record", "cannot_record", "1", "1", "3"], done.stderr
    assert verify_ledger(path, KEY.verify_key).ok


@pytest.mark.parametrize("path", ["/proc/nothing/ledger.sqlite", "/dev/null/ledger.sqlite"])
def test_where_nothing_can_be_written_nothing_is_released(path: str) -> None:
    refused("cannot_record", Ledger, Path(path), KEY)


def test_only_the_sites_own_user_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = written(tmp_path)
        with Ledger(path, KEY) as ledger:
            rounds(ledger, range(6, 7))
            files = {file.name: file.stat().st_mode & 0o077 for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert {LEDGER, LOCK, f"{LEDGER}-wal"} <= set(files) and set(files.values()) == {0}


def test_accepting_goes_on_after_a_clock_that_was_ahead(tmp_path: Path) -> None:
    with Ledger(tmp_path / LEDGER, KEY, now=lambda: NOW + 1e8) as ledger:
        ledger.spend(entry(1))
    with Ledger(tmp_path / LEDGER, KEY, now=lambda: NOW) as ledger:
        refused("clock_set_back", ledger.spend, entry(2))
    accept_restored(tmp_path / LEDGER, KEY, now=lambda: NOW)
    with Ledger(tmp_path / LEDGER, KEY, now=lambda: NOW) as ledger:
        ledger.write_receipt(receipt(2, paid=ledger.spend(entry(2))))
