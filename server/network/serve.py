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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from common.errors import ConsiliumError
from common.files import own_folder, write_atomic
from common.network.documents import SiteRequest
from server.network import gateway
from server.network.flower import BIN, CONNECTION, FlowerFailed, connect, environment, flwr, healthy, link_address
from server.network.home import Home, load_home
from server.network.locks import is_held, only_one
from server.network.processes import Process

PARTS = ("superlink", "superexec", "gateway")
LOOK_S, SITES_S, SILENT_S = 0.2, 2.0, 120.0
STATUS, LOCK, STOP = "serve.json", "serve.lock", "stop-serving"
_ALREADY = "already in use"
Say = Callable[[str], None]


class Supervisor:
    """The processes of one coordinator's folder. say: told, in one line, what a person may want to know.

    listen: address on which the SuperLink listens. Anything but loopback only inside a container of its own.
    """

    def __init__(self, home: Home, say: Say, *, parts: tuple[str, ...] = PARTS, listen: str = "127.0.0.1") -> None:
        self._home, self._say = home, say
        self._processes = {name: self._process(name, listen) for name in PARTS if name in parts}
        self._registered: dict[str, tuple[str, int]] = {}
        self._ready, self._told = False, ""
        self._heard_s = self._sites_s = time.monotonic()
        self._seen, self._wrong = self._files_of_gateway(), ""

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
            if process.due() and (name == "superlink" or self._ready):
                process.start()
                self._heard_s = time.monotonic() if name == "superlink" else self._heard_s
        self._watch_link()
        if self._ready and time.monotonic() - self._sites_s >= SITES_S:
            self._sites_s = time.monotonic()
            self._follow_sites()

    def _lost(self) -> None:
        """The SuperLink is gone: its run is lost, and an app that talked to it must not write into the journal."""
        self._ready = False
        self._registered = {}
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
        except ConsiliumError as error:
            if str(error) != self._wrong:  # a command may be writing: the next look sees it whole
                self._wrong = str(error)
                self._say(f"the hospitals that may pass stay as they were: {error}")

    def _register(self) -> bool:
        """Whether the SuperLink knows the keys of the enrolled hospitals, and of no other."""
        try:
            wanted = {site.site: site for site in gateway.enrolled(self._home)}
            gone = [n for n, (key, _) in self._registered.items() if n not in wanted or wanted[n].node_key != key]
            for name in gone:
                if node := self._registered[name][1]:
                    flwr(self._home, "supernode", "unregister", str(node), CONNECTION)
                del self._registered[name]
                self._say(f"{name}: its key is no longer registered.")
            new = [site for name, site in wanted.items() if name not in self._registered]
            with ThreadPoolExecutor(max_workers=4) as several:
                list(several.map(self._register_one, new))
        except ConsiliumError as error:
            self._say(f"hospitals are not registered yet: {error}")
            return False
        if new:
            self._say(f"registered: {', '.join(site.site for site in new)}.")
        return True

    def _register_one(self, site: SiteRequest) -> None:
        file = self._home.state / "nodes" / f"{site.site}.pub"
        write_atomic(file, f"{site.node_key}\n".encode())
        try:
            answer = flwr(self._home, "supernode", "register", str(file), CONNECTION, "--name", site.site)
        except FlowerFailed as failure:
            if _ALREADY not in str(failure):  # an earlier try whose answer was lost
                raise
            answer = {"node-id": 0}
        self._registered[site.site] = (site.node_key, int(answer["node-id"]))

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
        nodes = {name: node for name, (_, node) in sorted(self._registered.items())}
        told = json.dumps({"pid": os.getpid(), "ready": self._ready, "parts": parts, "nodes": nodes})
        if told != self._told:
            write_atomic(self._home.state / STATUS, f"{told}\n".encode())
            self._told = told

    def _process(self, name: str, listen: str) -> Process:
        home, log = self._home, self._home.state / f"{name}.log"
        if name == "gateway":
            gateway.write(home)
            gateway.check(home)
            return Process(name, gateway.command(home), environment(home), log, signal.SIGQUIT)
        authority, secret = (
            str(home.certificate("authority")),
            ("--superexec-auth-secret-file", str(home.superexec_secret)),
        )
        if name == "superexec":
            where = ("--runtime-api-address", link_address(home), "--root-certificates", authority)
            return Process(name, (str(BIN / "flower-superexec"), *where, *secret), environment(home), log)
        where = ("--host", listen, "--port", str(home.settings.link_port))
        files = ("--ssl-certfile", str(home.certificate("link")), "--ssl-keyfile", str(home.key("link")))
        rules = ("--enable-supernode-auth", "--disable-runtime-dependency-installation", "--isolation", "process")
        link = (str(BIN / "flower-superlink"), *where, "--ssl-ca-certfile", authority, *files, *rules, *secret)
        return Process(name, link, environment(home), log)


def serve(folder: Path, say: Say, *, parts: tuple[str, ...] = PARTS, listen: str = "127.0.0.1") -> None:
    """Serve until SIGTERM, SIGINT or `consilium server stop --all`. Raises ConsiliumError."""
    home = load_home(folder)
    own_folder(home.state)
    stop = threading.Event()

    def ending(number: int, frame: FrameType | None) -> None:
        stop.set()

    with only_one(home.state / LOCK, f"{folder}: is served already; `consilium server status {folder}` says how."):
        connect(home)
        own_folder(home.state / "nodes")
        supervisor = Supervisor(home, say, parts=parts, listen=listen)
        for number in (signal.SIGTERM, signal.SIGINT):
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


def ask_to_stop(home: Home, *, timeout_s: float = 90.0) -> bool:
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
