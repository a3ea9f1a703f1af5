"""The coordinator's three processes, SuperLink, SuperExec and gateway: the command, environment and log of each."""

import signal

from server.network import gateway
from server.network.flower import BIN, environment, link_address
from server.network.home import Home
from server.network.processes import Process

PARTS = ("superlink", "superexec", "gateway")


def part(home: Home, name: str, listen: str) -> Process:
    """One of PARTS, not started yet. listen: the SuperLink's address. Raises ConsiliumError of the gateway's files."""
    log = home.state / f"{name}.log"
    if name == "gateway":
        gateway.write(home)
        gateway.check(home)
        return Process(name, gateway.command(home), environment(home), log, signal.SIGQUIT)
    authority = str(home.certificate("authority"))
    secret = ("--superexec-auth-secret-file", str(home.superexec_secret))
    if name == "superexec":
        where = ("--runtime-api-address", link_address(home), "--root-certificates", authority)
        return Process(name, (str(BIN / "flower-superexec"), *where, *secret), environment(home), log)
    where = ("--host", listen, "--port", str(home.settings.link_port))
    files = ("--ssl-certfile", str(home.certificate("link")), "--ssl-keyfile", str(home.key("link")))
    rules = ("--enable-supernode-auth", "--disable-runtime-dependency-installation", "--isolation", "process")
    link = (str(BIN / "flower-superlink"), *where, "--ssl-ca-certfile", authority, *files, *rules, *secret)
    return Process(name, link, environment(home), log)
