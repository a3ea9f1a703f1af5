"""Strangers at the gateway, who have no certificate: they fill no log, and take no place from a hospital."""

import resource
import socket

import pytest

from tests.server.network.stand import Stand
from tests.server.network.upstream import DEADLINE_S

BAD_HELLO = b"\x16\x03\x03\x00\x04\x01\x00\x00\x00"
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01"
HELD = 2200


def _knock(stand: Stand, hello: bytes) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", stand.port), timeout=DEADLINE_S)
    plain.sendall(hello)
    return plain


def test_a_bad_handshake_leaves_no_line_and_a_hospitals_trouble_does(stand: Stand) -> None:
    north = stand.sites["north"]
    for _ in range(50):
        with _knock(stand, BAD_HELLO) as plain:
            while plain.recv(4096):  # an alert, and the end
                pass
    assert stand.post(north)[0] == 200 and stand.stderr() == ""
    stand.upstream.stop()
    assert stand.post(north)[0] == 502
    assert "connect() failed" in stand.stderr()


def test_half_open_handshakes_take_no_place_from_a_hospital(stand: Stand) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * HELD:
        pytest.skip(f"a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * HELD), hard))
    held = []
    try:
        held = [_knock(stand, HALF_HELLO) for _ in range(HELD)]
        assert [stand.post(site)[0] for site in stand.sites.values()] == [200, 200]
        assert stand.stderr() == ""
    finally:
        for plain in held:
            plain.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
