"""Whether the coordinator can be reached from here, as this hospital, and whether the two clocks agree."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Literal

from client.config import SiteConfig
from client.network.contact import Contact
from client.network.home import Home, load_connection
from client.network.keys import node_key, tls_key
from common.files import read_bytes
from common.network.address import host_and_port

CONNECT_S = 10.0
FAR_S, OFF_S = 240.0, 30.0
"""Flower lets a node in while the clocks differ by less than 300 s."""

Found = tuple[Literal["ok", "warning", "error"], str, str]


def check_connection(config: SiteConfig, home: Home) -> Iterator[Found]:
    """Findings, as (level, about, words). Raises ConsiliumError where a file that it needs is missing."""
    address = load_connection(home).address
    host, port = host_and_port(address)
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            pass
    except socket.gaierror as error:
        yield "error", "connection", f"The name {host!r} is not known here ({error.strerror}); ask who runs your DNS."
        return
    except ConnectionRefusedError:
        words = f"{address}: the machine is there, but nothing listens at port {port}; ask the coordinator."
        yield "error", "connection", words
        return
    except OSError as error:
        reason = error.strerror or str(error)
        words = f"{address}: no connection ({reason}); the firewall has to let TCP out to port {port} there."
        yield "error", "connection", words
        return
    contact = ask(config, home, address)
    yield "ok" if contact.ok else "error", "connection", f"{address}: {contact.words}"
    yield from _clock(contact)


def ask(config: SiteConfig, home: Home, address: str) -> Contact:
    """One exchange with the coordinator, as this hospital's node, that changes nothing there."""
    from client.runner import in_memory
    from client.supernode import probe

    key = in_memory("tls-key", tls_key(config))
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, key)
        return probe(
            address,
            authority=read_bytes(home.authority),
            certificate=str(home.certificate),
            key=f"/proc/self/fd/{key}",
            node_key=node_key(config),
        )


def _clock(contact: Contact) -> Iterator[Found]:
    if contact.clock_s is None:
        return
    off = abs(contact.clock_s)
    way = "ahead of" if contact.clock_s > 0 else "behind"
    words = f"This machine's clock is {off:.0f} s {way} the coordinator's"
    if off > FAR_S:
        yield "error", "clock", f"{words}; beyond 300 s it is not let in. Set one of them right (NTP)."
    elif off > OFF_S:
        yield "warning", "clock", f"{words}; set one of them right (NTP) before it is 300 s."
    else:
        yield "ok", "clock", f"{words}." if off >= 2 else "This machine's clock agrees with the coordinator's."
