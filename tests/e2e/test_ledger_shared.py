"""Several processes of one virtual site at once, as Flower's simulation engine has them, and a reader beside them."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from client.ledger.ledger import LEDGER, Ledger
from client.ledger.verify import verify_ledger
from tests.client.ledgers import KEY, entry, receipt, rounds

PROCESSES, ROUNDS, WAIT_S = 3, 40, 120.0


def _work(path: Path, first: int, together: Barrier) -> None:
    with Ledger(path, KEY, durable=False, alone=False) as ledger:
        together.wait(WAIT_S)
        rounds(ledger, range(first, first + ROUNDS))


def _run_alone(path: Path, together: Barrier) -> None:
    with Ledger(path, KEY) as ledger:
        together.wait(WAIT_S)
        for number in range(1, ROUNDS + 1):
            ledger.write_receipt(receipt(number, paid=ledger.spend(entry(number))))


def test_processes_take_turns_at_the_ledger(tmp_path: Path) -> None:
    path, context = tmp_path / LEDGER, multiprocessing.get_context("spawn")
    together = context.Barrier(PROCESSES)
    processes = [context.Process(target=_work, args=(path, ROUNDS * i + 1, together)) for i in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT_S)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    report = verify_ledger(path, KEY.verify_key)
    assert report.ok and len(list(report.of("entry"))) == len(list(report.of("receipt"))) == PROCESSES * ROUNDS


def test_reading_beside_a_client_that_writes_finds_nothing_wrong(tmp_path: Path) -> None:
    path, context = tmp_path / LEDGER, multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    client = context.Process(target=_run_alone, args=(path, together))
    client.start()
    together.wait(WAIT_S)
    lengths = []
    while client.is_alive():
        report = verify_ledger(path, KEY.verify_key)
        assert report.ok and report.notes == (), (report.broken, report.notes)
        lengths.append(len(report.records))
    client.join(WAIT_S)
    assert client.exitcode == 0 and lengths == sorted(lengths)
    assert len(verify_ledger(path, KEY.verify_key).records) == 1 + 2 * ROUNDS
