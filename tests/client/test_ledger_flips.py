"""One bit that is flipped anywhere in a ledger is found and located, or it changes no record.

The judge is a copy of the records that was taken before: what is reported as whole must equal it, and the record that
is named must be the first one that differs from it.
"""

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from client.ledger.account import postings
from client.ledger.chain import Record
from client.ledger.ledger import LEDGER, Ledger
from client.ledger.verify import Report, from_line, to_line, verify_export, verify_ledger
from common.errors import Refusal
from tests.client.ledgers import KEY, rounds, written

WAL = f"{LEDGER}-wal"
FLIPS = 200  # in each of the files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger as a killed client leaves it: six rounds in the file, six in the log beside it."""
    live = tmp_path_factory.mktemp("live")
    written(live, 6)
    with Ledger(live / LEDGER, KEY) as ledger:
        rounds(ledger, range(7, 13))
        return Path(
            shutil.copytree(live, tmp_path_factory.mktemp("left") / "site", ignore=lambda *_: [f"{LEDGER}-shm"])
        )


@pytest.fixture(scope="module")
def records(folder: Path) -> tuple[Record, ...]:
    report = verify_ledger(folder / LEDGER, KEY.verify_key)
    assert report.ok and len(report.records) == 25
    return report.records


def _check(report: Report, records: tuple[Record, ...]) -> bool:
    """Whether the flip was found; that nothing was missed, and that the right place was named."""
    if report.ok:
        assert report.records == records, "a change that was not noticed"
        return False
    assert report.broken is not None and "\n" not in str(report.broken)
    same = 0
    for had, found in zip(records, report.records, strict=False):
        if had != found:
            break
        same += 1
    if report.broken.number is None:
        assert same == len(report.records), "the file was named, but a record that can be read was changed"
    else:
        assert report.broken.number == same + 1
    return True


def _flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


@pytest.fixture(scope="module")
def closed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a client leaves it that has ended: without a log."""
    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("closed") / "site"))
    sqlite3.connect(copy / LEDGER).executescript("PRAGMA wal_checkpoint(TRUNCATE)").close()
    (copy / WAL).unlink(missing_ok=True)
    return copy


@pytest.mark.parametrize(("left", "name"), [("folder", LEDGER), ("folder", WAL), ("closed", LEDGER)])
def test_a_bit_flipped_anywhere(
    left: str, name: str, records: tuple[Record, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(left)
    chance, whole, found = random.Random(160), (folder / name).read_bytes(), 0
    for _ in range(FLIPS):
        work = Path(shutil.copytree(folder, tmp_path / "work", dirs_exist_ok=True))
        (work / f"{LEDGER}-shm").unlink(missing_ok=True)
        (work / name).write_bytes(_flipped(whole, chance.randrange(8 * len(whole))))
        found += _check(verify_ledger(work / LEDGER, KEY.verify_key), records)
    assert found == FLIPS if name == WAL else 0 < found < FLIPS, "SQLite checks all of its log, and not all of its file"


FIELDS: dict[str, Callable[[Record], bytes]] = {
    "body": lambda record: record.body,
    "hash": lambda record: record.previous,
    "signature": lambda record: record.signature,
    "place": lambda record: record.place,
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_bit_flipped_in_each_record(field: str, tmp_path: Path) -> None:
    path, chance = written(tmp_path), random.Random(161)
    records, whole = verify_ledger(path, KEY.verify_key).records, path.read_bytes()
    for record in records:
        content = FIELDS[field](record)
        if not any(content):
            continue  # the zeros before the first record are everywhere
        at = whole.index(content)
        assert whole.count(content) == 1
        path.write_bytes(_flipped(whole, 8 * at + chance.randrange(8 * len(content))))
        report = verify_ledger(path, KEY.verify_key)
        assert report.broken is not None and report.broken.number == record.number, report.broken


@pytest.mark.parametrize("field", ["body", "hash"])
def test_a_client_does_not_start_on_a_damaged_ledger(field: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for record in verify_ledger(path, KEY.verify_key).records[1:]:
        at = whole.index(FIELDS[field](record))
        path.write_bytes(_flipped(whole, 8 * at + 3))
        with pytest.raises(Refusal, match=f"record {record.number}: ") as refusal:
            Ledger(path, KEY)
        assert refusal.value.code == "ledger_damaged"


def test_a_client_that_starts_has_lost_nothing(tmp_path: Path) -> None:
    path, chance, started = written(tmp_path, 4, durable=False), random.Random(163), 0
    whole, spent = path.read_bytes(), 80
    for _ in range(60):
        path.write_bytes(_flipped(whole, chance.randrange(8 * len(whole))))
        try:
            with Ledger(path, KEY, durable=False) as ledger:
                assert [one.event.count for one in ledger.spent()] == [spent]
                started += 1
        except Refusal as refusal:
            assert refusal.code in ("ledger_damaged", "cannot_record")
    assert 0 < started < 60


def test_a_bit_flipped_in_each_line_of_an_export(records: tuple[Record, ...], tmp_path: Path) -> None:
    lines, path, chance = [to_line(record) for record in records], tmp_path / "receipts.jsonl", random.Random(162)
    path.write_bytes(b"".join(lines))
    assert verify_export(path, KEY.verify_key) == Report(records, None)
    for number, line in enumerate(lines):
        for _ in range(12):
            flipped = _flipped(line, chance.randrange(8 * (len(line) - 1)))
            path.write_bytes(b"".join([*lines[:number], flipped, *lines[number + 1 :]]))
            report = verify_export(path, KEY.verify_key)
            if report.ok:  # a space that became another space, a letter of a hexadecimal number its capital
                assert from_line(flipped) == records[number]
            else:
                assert report.broken is not None and report.broken.number == number + 1


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("previous", "zz" * 32, "has a hash, signature or text as no ledger writes it."),
        ("place", "\ud800", "has a hash, signature or text as no ledger writes it."),
        ("previous", "00", "has no number or hash as records have."),
    ],
)
def test_a_line_of_an_export_that_no_ledger_writes(key: str, value: str, words: str, records, tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    path.write_bytes(json.dumps(json.loads(to_line(records[0])) | {key: value}).encode() + b"\n")
    assert str(verify_export(path, KEY.verify_key).broken) == f"record 1: {words}"


def test_a_folder_in_the_place_of_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    path.mkdir()
    assert str(verify_ledger(path, None).broken) == "the file: is not an ordinary file."
    with pytest.raises(Refusal, match="is not an ordinary file, which a ledger is; move it away") as caught:
        Ledger(path, KEY)
    assert caught.value.code == "cannot_record"


@pytest.mark.parametrize("drop", [1, 12, 24])
def test_a_record_that_is_missing_or_moved_is_named(drop: int, records: tuple[Record, ...], tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    for kept in (records[: drop - 1] + records[drop:], (*records[: drop - 1], records[drop], records[drop - 1])):
        path.write_bytes(b"".join(map(to_line, kept)))
        report = verify_export(path, KEY.verify_key)
        assert str(report.broken) == f"record {drop}: is missing; record {drop + 1} is the next one."


def test_a_chain_of_another_key_is_not_the_sites(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert verify_ledger(path, None).ok
    assert verify_ledger(path, bytes(32)).broken is not None


def test_a_file_that_is_cut_anywhere_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    """SQLite may give records of a cut file out of their order: those are not to be taken for whole ones."""
    path = written(tmp_path, 30)
    records, data = verify_ledger(path, None).records, path.read_bytes()
    for size in range(0, len(data), 512):
        path.write_bytes(data[:size])
        report = verify_ledger(path, KEY.verify_key)
        assert _check(report, records)
        whole = [record for record, _ in report.of("receipt")] + [records[one.number - 1] for one in postings(report)]
        assert all(record in report.records for record in whole)
