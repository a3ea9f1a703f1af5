"""`consilium server serve`: SuperLink, SuperExec and gateway under one supervisor, which starts again what ends.

The SuperLink keeps everything in memory. When it is gone, so are its registrations and its run: the coordinator's app
is ended with it, the hospitals' keys are registered again, and `consilium server run` goes on from its journal.
"""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from common.errors import ConsiliumError
from common.files import own_folder, write_atomic
from server.network import gateway
from server.network.flower import COMMAND_S, connect, healthy
from server.network.home import Home, load_home
from server.network.locks import is_held, only_one
from server.network.parts import PARTS, part
from server.network.processes import Process
from server.network.registrations import Registrations

LOOK_S, SITES_S, SILENT_S = 0.2, 2.0, 120.0
STATUS, LOCK, STOP = "serve.json", "serve.lock", "stop-serving"
Say = Callable[[str], None]


class Supervisor:
    """The processes of one coordinator's folder. say: told, in one line, what a person may want to know.

    listen: address on which the SuperLink listens. Anything but loopback only inside a container of its own.
    """

    def __init__(self, home: Home, say: Say, *, parts: tuple[str, ...] = PARTS, listen: str = "127.0.0.1") -> None:
        self._home, self._person = home, say
        self._processes = {name: part(home, name, listen) for name in PARTS if name in parts}
        self._registered = Registrations(home)
        self._ready, self._told = False, ""
        self._said: dict[str, str] = {}
        self._heard_s = self._sites_s = time.monotonic()
        self._seen = self._files_of_gateway()

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set, or somebody asks for it with `ask_to_stop`; then all processes are ended."""
        request = self._home.state / STOP
        request.unlink(missing_ok=True)
        try:
            while not stop.wait(LOOK_S) and not request.exists():
                self._look()
                self._tell()
        finally:
            for process in reversed(self._processes.values()):
                process.stop()
            self._ready = False
            self._tell()
            request.unlink(missing_ok=True)

    def _look(self) -> None:
        for name, process in self._processes.items():
            if process.ended():
                self._say(
                    f"{name} ended with status {process.last_status}; it is started again. Its log: {process.log}"
                )
                process.end_group()  # nginx' workers would keep the port
                if name == "superlink":
                    self._lost()
            process.turn_log_over()
            if process.due() and (name == "superlink" or self._ready):
                self._start(process)
                self._heard_s = time.monotonic() if name == "superlink" else self._heard_s
        self._watch_link()
        if self._ready and time.monotonic() - self._sites_s >= SITES_S:
            self._sites_s = time.monotonic()
            self._follow_sites()

    def _start(self, process: Process) -> None:
        try:
            process.start()
        except ConsiliumError as error:  # a full disk, or no more memory: that passes, and others depend on the rest
            self._say(f"{error} It is tried again.")

    def _lost(self) -> None:
        """The SuperLink is gone: its run is lost, and an app that talked to it must not write into the journal."""
        self._ready = False
        self._registered = Registrations(self._home)
        if (executor := self._processes.get("superexec")) is not None:
            executor.stop()

    def _watch_link(self) -> None:
        link = self._processes.get("superlink")
        if link is not None and link.pid is None:
            return
        now = time.monotonic()
        if self._ready and now - self._heard_s < SITES_S:
            return
        if healthy(self._home):
            self._heard_s = now
            if not self._ready:
                self._ready = link is None or self._register()
        elif link is None:  # in another container: nobody else says that it is gone
            if self._ready:
                self._lost()
        elif now - self._heard_s > SILENT_S:
            self._say(f"superlink has not answered for {SILENT_S:g} s; it is started again.")
            self._heard_s = now
            link.stop()
            self._lost()

    def _follow_sites(self) -> None:
        """Hospitals that were enrolled or revoked meanwhile, and new certificates."""
        try:
            found = self._files_of_gateway()
            if found == self._seen:
                return
            if "superlink" in self._processes and not self._register():
                return
            if "gateway" in self._processes:
                gateway.write(self._home)
                gateway.reload(self._home)
            self._seen = found
            self._said.pop("sites", None)
        except ConsiliumError as error:  # a command may be writing: the next look sees it whole
            self._say_once("sites", f"the hospitals that may pass stay as they were: {error}")

    def _register(self) -> bool:
        """Whether the SuperLink knows the keys of the enrolled hospitals, and of no other."""
        try:
            back = self._registered.follow(gateway.enrolled(self._home), self._say)
        except ConsiliumError as error:
            self._say_once("keys", f"hospitals are not registered yet: {error}")
            return False
        self._said.pop("keys", None)
        if back:
            self._say(f"{', '.join(back)} has come back with its former key: superlink is started again.")
            self._processes["superlink"].stop()
            self._lost()
        return not back

    def _files_of_gateway(self) -> list[tuple[str, int]]:
        """What says who may pass, and when it changed."""
        home = self._home
        found = []
        for path in (home.certificate("gateway"), home.certificate("authority"), *sorted(home.sites.glob("*"))):
            with contextlib.suppress(FileNotFoundError):  # a command takes a hospital away at this moment
                found.append((path.name, path.stat().st_mtime_ns))
        return found

    def _tell(self) -> None:
        """state/serve.json, for `server status` and `server run`."""
        parts = {
            name: {"pid": process.pid, "starts": process.starts, "last_status": process.last_status}
            for name, process in self._processes.items()
        }
        nodes = dict(sorted(self._registered.nodes.items()))
        told = json.dumps({"pid": os.getpid(), "ready": self._ready, "parts": parts, "nodes": nodes})
        if told == self._told:
            return
        try:
            write_atomic(self._home.state / STATUS, f"{told}\n".encode())
        except ConsiliumError as error:  # a full disk must not end what runs
            self._say_once("status", f"{error} Everything else goes on, and it is tried again.")
            return
        self._told = told
        self._said.pop("status", None)

    def _say_once(self, what: str, words: str) -> None:
        """The same words of the same thing are not said again until it went well."""
        if self._said.get(what) != words:
            self._said[what] = words
            self._say(words)

    def _say(self, words: str) -> None:
        with contextlib.suppress(OSError):  # it may go into a file on the disk that is full
            self._person(words)


def serve(folder: Path, say: Say, *, parts: tuple[str, ...] = PARTS, listen: str = "127.0.0.1") -> None:
    """Serve until SIGTERM, SIGINT, SIGHUP or `consilium server stop --all`. Raises ConsiliumError."""
    home = load_home(folder)
    own_folder(home.state)
    stop = threading.Event()

    def ending(number: int, frame: FrameType | None) -> None:
        stop.set()

    with only_one(home.state / LOCK, f"{folder}: is served already; `consilium server status {folder}` says how."):
        connect(home)
        own_folder(home.state / "nodes")
        supervisor = Supervisor(home, say, parts=parts, listen=listen)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, ending)
        say(f"{home.settings.federation}: serving on {home.settings.listen}; logs are in {home.state}.")
        supervisor.run(stop)
        say("stopped.")


def served(home: Home) -> dict[str, Any] | None:
    """What the supervisor of this folder says of itself; None if none runs."""
    if not is_held(home.state / LOCK):
        return None
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((home.state / STATUS).read_bytes()))
    return {"pid": None, "ready": False, "parts": {}, "nodes": {}}


def ask_to_stop(home: Home, *, timeout_s: float = COMMAND_S + 90.0) -> bool:
    """Whether the supervisor of this folder runs no more: it is asked to end, and waited for."""
    deadline = time.monotonic() + timeout_s
    if not is_held(home.state / LOCK):
        return True
    write_atomic(home.state / STOP, b"")
    while is_held(home.state / LOCK):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True
