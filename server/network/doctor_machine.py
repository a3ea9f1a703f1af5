"""What `consilium server doctor` asks of the machine: programs, ports, disk and clock."""

import errno
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from common.errors import ConsiliumError
from common.files import exists, read_bytes
from common.network.address import host_and_port
from common.network.certificates import check_certificate
from server.network import gateway
from server.network.doctor import Check, Finding, Level
from server.network.home import Home

PROGRAMS = ("flower-superlink", "flower-superexec", "flwr")
DISK_ERROR, DISK_WARNING = 1 * 10**9, 5 * 10**9
CLOCKS_S = 300
"""A SuperNode's signature is refused where its clock and ours differ by more."""
_ANSWER_S = 5.0


def programs(home: Home, now: datetime) -> Iterator[Finding]:
    """nginx, whether it accepts its configuration, and Flower's commands."""
    yield Finding("ok", f"nginx: {gateway.find_nginx()}.")
    if exists(home.folder / "gateway" / gateway.CONFIGURATION):
        gateway.check(home)
    beside = str(Path(sys.executable).parent)
    missing = [name for name in PROGRAMS if not (shutil.which(name, path=beside) or shutil.which(name))]
    if missing:
        yield Finding("error", f"{', '.join(missing)}: not found; install Consilium into the environment that runs it.")


def ports(home: Home, now: datetime) -> Iterator[Finding]:
    """Whether the two ports are free, or are held by this folder's own servers."""
    listen = host_and_port(home.settings.listen)
    for name, (host, port) in {"gateway": listen, "link": ("127.0.0.1", home.settings.link_port)}.items():
        yield _port(home, name, host, port, now)


def disk(home: Home, now: datetime) -> Iterator[Finding]:
    free = shutil.disk_usage(home.folder).free
    text = f"{home.folder}: {free / 1e9:.1f} GB free"
    if free < DISK_WARNING:
        level: Level = "error" if free < DISK_ERROR else "warning"
        yield Finding(level, f"{text}; the journals of runs and the logs need {DISK_WARNING / 1e9:.0f}.")
    else:
        yield Finding("ok", f"{text}.")


def clock(home: Home, now: datetime) -> Iterator[Finding]:
    """Whether time went backwards here, and whether the system says that its clock is kept right."""
    newest = max((p.stat().st_mtime for p in home.folder.iterdir()), default=0.0)
    text = f"clock: it is {now:%Y-%m-%d %H:%M:%S} UTC here"
    allowed = f"hospitals that differ by more than {CLOCKS_S} s cannot connect"
    if newest > (now + timedelta(seconds=CLOCKS_S)).timestamp():
        made = datetime.fromtimestamp(newest, now.tzinfo)
        yield Finding(
            "error", f"{text}, but a file in {home.folder} was written at {made:%Y-%m-%d %H:%M:%S}; {allowed}."
        )
    elif _synchronised() is False:
        yield Finding("warning", f"{text}, and the system says that no time server keeps it right; {allowed}.")
    else:
        yield Finding("ok", f"{text}; {allowed}.")


CHECKS: tuple[Check, ...] = (programs, ports, disk, clock)


def _port(home: Home, name: str, host: str, port: int, now: datetime) -> Finding:
    who = {"gateway": "gateway", "link": "SuperLink"}[name]
    where = f"port {port} of {host} ({who})"
    problem = _bind(host, port)
    if problem is None:
        return Finding("ok", f"{where}: free; the {who} is not running.")
    if problem == errno.EACCES:
        return Finding("error", f"{where}: this user may not open it; choose one from 1024 on, in coordinator.toml.")
    if problem == errno.EADDRNOTAVAIL:
        return Finding("error", f"{where}: {host} is no address of this machine; see `listen` in coordinator.toml.")
    if problem != errno.EADDRINUSE:
        return Finding("error", f"{where}: cannot be opened: {errno.errorcode.get(problem, problem)}.")
    shown = _certificate({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104 -- dialled, not bound
    if shown is None:
        return Finding("error", f"{where}: another program has it, or a {who} that does not answer.")
    if shown == read_bytes(home.certificate(name)).decode().strip():
        return Finding("ok", f"{where}: this folder's {who} is running.")
    try:
        check_certificate(shown.encode(), authority_pem=read_bytes(home.certificate("authority")), now=now)
    except ConsiliumError:
        return Finding("error", f"{where}: another server has it, or a {who} with a certificate that is no good now.")
    return Finding("warning", f"{where}: the {who} runs with an earlier certificate; restart `consilium server serve`.")


def _bind(host: str, port: int) -> int | None:
    """None if the port is free, else why it cannot be opened."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended is no obstacle
        try:
            one.bind((host, port))
            one.listen(1)
        except OSError as error:
            return error.errno or errno.EIO
    return None


def _certificate(host: str, port: int) -> str | None:
    """PEM of what the server there shows; None if it speaks no TLS or does not answer."""
    try:
        return ssl.get_server_certificate((host, port), timeout=_ANSWER_S).strip()
    except (OSError, ValueError):
        return None


def _synchronised() -> bool | None:
    """What the system says of its clock; None where it says nothing, as in a container."""
    if shutil.which("timedatectl") is None:
        return None
    try:
        command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())
