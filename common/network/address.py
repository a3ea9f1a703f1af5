"""HOST:PORT, which sites dial: the host is also the name in the coordinator's certificate."""

import ipaddress
import re

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""The end of what some systems take for an IPv4 address in another notation."""


def host_and_port(address: str) -> tuple[str, int]:
    """The host, without the brackets of an IPv6 address, and the port of `address`.

    Raises ValueError, with half a sentence that says what is allowed, for anything else.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise ValueError("it has to be HOST:PORT with a port from 1 to 65535, such as federation.example.org:9443")
    if host.startswith("[") and host.endswith("]"):
        if not _is_ip(host[1:-1], version=6):
            raise ValueError("what stands in brackets has to be an IPv6 address")
        return host[1:-1], int(port)
    if not _is_ip(host, version=4) and (not _HOST.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2])):
        raise ValueError("its host has to be a name in lower-case letters, an IPv4 address, or an IPv6 one in brackets")
    return host, int(port)


def is_ip(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address rather than a name."""
    return _is_ip(host, version=4) or _is_ip(host, version=6)


def _is_ip(host: str, *, version: int) -> bool:
    try:
        return ipaddress.ip_address(host).version == version and "%" not in host
    except ValueError:
        return False
