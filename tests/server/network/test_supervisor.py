"""The supervisor where the coordinator's disk gives nothing more: it says so, keeps what runs, and tries again."""

import contextlib
import datetime
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from common.files import own_folder
from server.network import processes
from server.network.home import Home, Settings
from server.network.serve import STATUS, Supervisor
from tests.e2e.processes import free_ports
from tests.e2e.site_faults import full, small_disk
from tests.server.network.stand import fill, require_nginx
from tests.server.network.upstream import Upstream, until


@dataclass
class Served:
    """A supervisor of a gateway alone, before the SuperLink's place-holder, in a thread. said: what a person reads."""

    home: Home
    said: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self) -> None:
        supervisor = Supervisor(self.home, self._hear, parts=("gateway",))
        self.thread = threading.Thread(target=supervisor.run, args=(self.stop,))
        self.thread.start()

    def pid(self) -> int | None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            told: dict[str, Any] = json.loads((self.home.state / STATUS).read_bytes())
            return told["parts"]["gateway"]["pid"]
        return None

    def heard(self, words: str) -> int:
        return sum(words in line for line in self.said)

    def _hear(self, words: str) -> None:
        self.said.append(words)
        if self.heard("No space left"):
            raise OSError("what a person reads is a file on the same disk")


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[Served]:
    require_nginx()
    upstream, (port,) = Upstream(), free_ports(1)
    address = f"127.0.0.1:{port}"
    settings = Settings(federation="test", address=address, listen=address, link_port=upstream.port)
    served = Served(Home(folder / "home", settings))
    fill(served.home, datetime.datetime.now(datetime.UTC))
    own_folder(served.home.state)
    upstream.start(served.home.certificate("link"), served.home.key("link"))
    try:
        yield served
    finally:
        served.stop.set()
        if served.thread is not None:
            served.thread.join(60)
        upstream.stop()


def test_a_process_that_ends_while_the_disk_is_full_is_started_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small disk")
        with _served(disk) as served:
            served.start()
            until(lambda: bool(served.pid()), "the gateway")
            first = served.pid()
            with full(disk):
                os.kill(first or 0, signal.SIGKILL)
                until(lambda: bool(served.heard("gateway ended with status -9")), "the end is seen")
                until(lambda: bool(served.heard("serve.json: cannot be written: No space left")), "it is said")
                assert served.thread is not None and served.thread.is_alive() and served.pid() == first
            until(lambda: served.pid() not in (None, first), "the next gateway is told")
            assert served.heard("No space left") <= 2


def test_what_cannot_be_started_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    with _served(tmp_path) as served:
        obstacle = served.home.state / "gateway.log"
        obstacle.mkdir()
        served.start()
        until(lambda: served.heard("gateway: cannot be started: Is a directory. It is tried again.") >= 2, "two tries")
        obstacle.rmdir()
        until(lambda: bool(served.pid()), "the gateway")
        assert served.heard("cannot be started") <= 6


def test_a_log_is_kept_short_while_its_process_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MOST_LOG_BYTES", 1000)
    with _served(tmp_path) as served:
        served.start()
        until(lambda: bool(served.pid()), "the gateway")
        with open(served.home.state / "gateway.log", "ab") as log:
            log.write(b"x" * 1001)
        until((served.home.state / "gateway.log.before").exists, "the log is set aside")
        assert not served.heard("ended")
