"""Faults of one hospital's machine: a full disk, a clock ten minutes off. The run pauses; mended, it goes on."""

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.network.contact import read_contact
from client.network.home import Home
from common.files import write_atomic
from tests.e2e.faults import HELD_ROUND, SITE, STRUCK_ROUND, Play
from tests.e2e.held_worker import TRAINING
from tests.e2e.network import CONSILIUM

SMALL_DISK, BYTES = "valley", 64 << 20
"""The hospital whose folder lies on a disk of its own, and the size of that."""
OFF_S, PATIENCE = 600, ("--wait-s", 20)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of BYTES at `folder`; False where this user may not mount one."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={BYTES},mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not one byte more fits on the disk of `folder`."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, bytes(size))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (folder / "more").write_bytes(b"x")
        yield
    finally:
        os.close(descriptor)
        for path in (filler, folder / "more"):
            path.unlink(missing_ok=True)


def full_disk(play: Play) -> None:
    """At one hospital no record can be written: nothing leaves it, and the run says so."""
    folder = play.network.sites[SMALL_DISK]
    if not os.path.ismount(folder):
        pytest.skip("this user may not mount the small disk of a hospital")
    play.begin(*PATIENCE)
    play.wait_for_rounds(STRUCK_ROUND)
    with full(folder):
        before = play.strike()
        assert f"{SMALL_DISK}: cannot_record" in play.ends(status=3)
    assert play.rounds() < play.plan.training.rounds
    play.begin()
    play.wait_for_another(before)
    play.ends()


def clock_off(play: Play, seconds: int) -> None:
    """The clock of one hospital jumps while it trains: nobody takes its signatures until it is right again."""
    network, clock = play.network, play.network.folder / "clock"
    variables = _shifted_by(clock)
    write_atomic(clock, b"0")
    network.stop_site(SITE)
    network.start_site(SITE, **variables)
    try:
        network.hold(SITE, TRAINING, HELD_ROUND)
        play.begin(*PATIENCE)
        network.wait_for_hold(SITE)
        before = play.strike()
        write_atomic(clock, f"{seconds}".encode())
        network.release(SITE)
        play.ends(status=3)
        contact = read_contact(Home(network.sites[SITE]).state)
        assert contact is not None and "clock" in contact.words, contact
        play.told.append(f"at the site: {contact.words}")
        write_atomic(clock, b"0")
        if seconds > 0:  # its last record is of a time that has not come yet
            play.begin(*PATIENCE)
            assert f"{SITE}: clock_set_back" in play.ends(status=3)
            _accept(play, variables)
        play.begin()
        play.wait_for_another(before)
        play.ends()
    finally:
        network.stop_site(SITE)
        network.start_site(SITE)


def _accept(play: Play, variables: dict[str, str]) -> None:
    """What docs/ledger.md has the operator do after the clock was ahead."""
    network, home = play.network, play.network.sites[SITE]
    network.stop_site(SITE)
    words = [*CONSILIUM, "site", "ledger", str(home), "--accept-restored"]
    done = subprocess.run(words, input=f"{SITE}\n", env=network.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    network.start_site(SITE, **variables)


def _shifted_by(clock: Path) -> dict[str, str]:
    """Variables with which every process takes its time of day shifted by the seconds that `clock` says."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is here, which makes the library that shifts a process' clock")
    library = clock.with_suffix(".so")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, Path(__file__).with_name("shifted_clock.c")], check=True
    )
    return {"LD_PRELOAD": str(library), "CONSILIUM_CLOCK": str(clock)}
