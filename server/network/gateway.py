"""The gateway: an nginx of this user's in front of the SuperLink, and who may pass it.

Its configuration and its list of sites follow from the coordinator's folder and can be written again at any time; what
it needs to run is in state/gateway. It keeps no log of requests; what goes wrong is written to stderr, without bodies.
nginx runs in the foreground, under whoever started `command`; after `write`, `reload` lets it serve new certificates
and another list of sites, and requests under way are answered first.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from common.errors import ConsiliumError
from common.files import exists, own_folder, read_bytes, read_private, write_atomic
from common.network.certificates import check_pair, expires
from common.network.documents import SiteRequest
from common.network.node_key import key_header
from server.network.gateway_template import configuration
from server.network.home import Home

CONFIGURATION, SITES = "nginx.conf", "sites.map"
PLACES = "/usr/sbin:/usr/local/sbin:/sbin"
"""Where systems keep what only administrators start, which is not always on PATH."""
CHECK_S = 30.0


def write(home: Home) -> None:
    """Write gateway/nginx.conf and gateway/sites.map from what is in the coordinator's folder, and make state/gateway.

    Raises ConsiliumError, and then writes nothing, if a key or certificate is missing or does not fit the other.
    """
    key, certificate = home.key("gateway"), home.certificate("gateway")
    check_pair(read_bytes(certificate), read_private(key), source=str(certificate))
    authority = home.certificate("authority")
    expires(read_bytes(authority), source=str(authority))
    sites = site_map(enrolled(home))
    rules = home.settings
    text = configuration(listen=rules.listen, link_port=rules.link_port, link_host=rules.link_host)
    own_folder(home.folder / "state")
    own_folder(_state(home))
    write_atomic(_folder(home) / SITES, sites)
    write_atomic(_folder(home) / CONFIGURATION, text)


def enrolled(home: Home) -> list[SiteRequest]:
    """Requests of the hospitals that may connect: those for which a certificate has been issued."""
    return [home.site_request(site) for site in home.site_names() if exists(home.site_certificate(site))]


def site_map(requests: Iterable[SiteRequest]) -> bytes:
    """The lines of sites.map: which certificate together with which node key is which site.

    Patterns, because nginx compares plain strings without regard to case; what stands between \\Q and \\E is literal.
    """
    lines = [f'"~^\\QCN={each.site}|{key_header(each.node_key)}\\E\\z" {each.site};\n' for each in requests]
    return "".join(lines).encode()


def find_nginx() -> str:
    """Path of nginx, on PATH or where systems keep it for administrators. Raises ConsiliumError."""
    found = shutil.which("nginx") or shutil.which("nginx", path=PLACES)
    if found is None:
        raise ConsiliumError("nginx: neither on PATH nor in /usr/sbin; install it, on Debian: apt install nginx-light.")
    return found


def command(home: Home) -> list[str]:
    """How to start the gateway in the foreground. SIGQUIT ends it after the requests under way, SIGTERM at once.

    SIGKILL would leave its workers behind, which keep the port.
    """
    prefix, conf = f"{_state(home)}/", str(_folder(home) / CONFIGURATION)
    return [find_nginx(), "-e", "stderr", "-p", prefix, "-c", conf]


def check(home: Home) -> None:
    """Raises ConsiliumError, with nginx' own words, unless it accepts what `write` wrote. Binds no port."""
    own_folder(_state(home))
    try:
        done = subprocess.run([*command(home), "-t", "-q"], capture_output=True, text=True, timeout=CHECK_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConsiliumError(f"nginx: cannot be run: {error}.") from None
    if done.returncode != 0:
        words = [line for line in done.stderr.splitlines() if "[emerg]" in line] or ["no reason was given"]
        raise ConsiliumError(f"{_folder(home) / CONFIGURATION}: nginx refuses it: {words[0]}.")


def reload(home: Home) -> bool:
    """Let a running gateway read its files again. False if none of this folder runs. Raises ConsiliumError.

    New connections are judged by the new files at once; open ones are closed after the request under way.
    """
    pid = running(home)
    if pid is None:
        return False
    check(home)
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise ConsiliumError(f"{_pid(home)}: process {pid} belongs to another user, who has to reload it.") from None
    return True


def running(home: Home) -> int | None:
    """Process id of the gateway of this folder, or None."""
    try:
        pid = int(_pid(home).read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    # After a crash another program may have this number.
    return pid if str(_folder(home) / CONFIGURATION).encode() in arguments else None


def _folder(home: Home) -> Path:
    return home.folder / "gateway"


def _state(home: Home) -> Path:
    return home.state / "gateway"


def _pid(home: Home) -> Path:
    return _state(home) / "nginx.pid"
