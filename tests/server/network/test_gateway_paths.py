"""What passes the gateway: ten paths by POST, as they are written, and nothing that only looks like them."""

import contextlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from flwr.supernode import fleet_http_client

from server.network.gateway_template import MOST_BYTES, PATHS
from tests.server.network.stand import PULL, Stand, make_stand, require_nginx

HOST = b"Host: gateway\r\n"


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    require_nginx()
    stand = make_stand()
    yield stand
    stand.stop()


def test_the_paths_are_those_of_flowers_client_without_registration() -> None:
    used = set(re.findall(r'path="/v1/fleet/([a-z-]+)"', Path(fleet_http_client.__file__).read_text()))
    assert used - set(PATHS) == {"register-node", "unregister-node"} and len(PATHS) == 10
    assert set(PATHS) <= used


@pytest.mark.parametrize("name", PATHS)
def test_every_path_passes_with_its_body_and_answer(stand: Stand, name: str) -> None:
    body = name.encode() * 1000
    assert stand.post(stand.sites["north"], f"/v1/fleet/{name}", body=body) == (200, b"ok")
    last = stand.upstream.arrived[-1]
    assert (last.method, last.path, last.body) == ("POST", f"/v1/fleet/{name}", body)


@pytest.mark.parametrize("path", ["/v1/fleet/register-node", "/v1/fleet/unregister-node", "/v1/control/start-run"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_other_interfaces_are_refused(stand: Stand, method: str, path: str) -> None:
    assert _status(stand, f"{method} {path} HTTP/1.1".encode()) == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
def test_only_post_passes(stand: Stand, method: str) -> None:
    assert _status(stand, f"{method} {PULL} HTTP/1.1".encode()) in (400, 403, 405)


TARGETS = (
    "/v1/fleet/control/../pull-messages",
    "/v1/control/../fleet/pull-messages",
    "/v1/fleet/./pull-messages",
    "/v1/fleet/%2e/pull-messages",
    "/v1/fleet/%2e%2e/fleet/pull-messages",
    "/v1/fleet/..%2fruntime/acquire-task",
    "/v1/fleet/pull-messages/../../control/start-run",
    "/v1/fleet/pull-messages/..%2f..%2fcontrol/start-run",
    "/v1/fleet/pull-messages%0a",
    "/v1/fleet/pull-messages%00",
    "/v1/fleet/pull-messages%20",
    "/v1/fleet/pull-messages?",
    "/v1/fleet/pull-messages?x=1",
    "/v1/fleet/pull-messages#x",
    "/v1/fleet/pull-messages;x",
    "/v1/fleet/pull-messages;/../../control/start-run",
    "/v1/fleet/pull-messages/",
    "/v1/fleet//pull-messages",
    "//v1/fleet/pull-messages",
    "/v1//fleet/pull-messages",
    "/v1/fleet/pull%2dmessages",
    "/v1/fleet/%70ull-messages",
    "/%761/fleet/pull-messages",
    "/v1/fleet%2fpull-messages",
    "/v1/fleet\\pull-messages",
    "/V1/FLEET/PULL-MESSAGES",
    "/v1/fleet/pull-messagesx",
    "/x/v1/fleet/pull-messages",
    "/v1/fleet/pull-messages\t",
    "*",
    "v1/fleet/pull-messages",
    "https://gateway/v1/control/start-run",
    "https://gateway/v1/fleet/../control/start-run",
    "https://gateway//v1/fleet/pull-messages",
    "https://v1/fleet/pull-messages",
    "gateway:443",
)


@pytest.mark.parametrize("target", TARGETS)
def test_raw_probes_reach_nothing(stand: Stand, target: str) -> None:
    before = len(stand.upstream.arrived)
    assert _status(stand, f"POST {target} HTTP/1.1".encode()) in (400, 403, 404)
    assert len(stand.upstream.arrived) == before


SMUGGLED = b"POST /v1/control/start-run HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\n" + CHUNKED,
        CHUNKED + b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(SMUGGLED),
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Content-Length: +0\r\n",
        b"Content-Length: -1\r\n",
    ],
)
def test_a_second_request_is_never_smuggled_in_a_first(stand: Stand, framing: bytes) -> None:
    before = len(stand.upstream.arrived)
    request = b"POST " + PULL.encode() + b" HTTP/1.1\r\n" + HOST + _key(stand) + framing + b"\r\n0\r\n\r\n" + SMUGGLED
    _exchange(stand, request)
    assert {each.path for each in stand.upstream.arrived[before:]} <= {PULL}


def test_an_absolute_address_of_a_right_path_is_that_path(stand: Stand) -> None:
    """RFC 9112, 3.2.2: a server accepts it. Upstream sees the path, whatever host was named."""
    assert _status(stand, b"POST https://elsewhere" + PULL.encode() + b" HTTP/1.1") == 200
    assert stand.upstream.arrived[-1].path == PULL
    assert stand.upstream.arrived[-1].values("host") == ["localhost"]


def test_each_request_of_a_connection_is_judged_for_itself(stand: Stand) -> None:
    right = b"POST " + PULL.encode() + b" HTTP/1.1\r\n" + HOST + _key(stand) + b"Content-Length: 0\r\n\r\n"
    before = len(stand.upstream.arrived)
    answers = _exchange(stand, right + SMUGGLED)
    assert re.findall(rb"HTTP/1\.1 (\d{3})", answers) == [b"200", b"403"]
    assert [each.path for each in stand.upstream.arrived[before:]] == [PULL]


def test_a_body_may_have_8_MiB_and_no_byte_more(stand: Stand) -> None:
    body = bytes(MOST_BYTES)
    assert stand.post(stand.sites["north"], body=body) == (200, b"ok")
    assert len(stand.upstream.arrived[-1].body) == MOST_BYTES
    before = len(stand.upstream.arrived)
    with stand.raw(stand.sites["north"]) as connection:
        head = b"POST " + PULL.encode() + b" HTTP/1.1\r\n" + HOST + _key(stand)
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % (MOST_BYTES + 1))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert len(stand.upstream.arrived) == before


def test_a_long_answer_arrives_whole(stand: Stand) -> None:
    stand.upstream.answer = bytes(range(256)) * 4 * 10_240  # 10 MiB
    try:
        assert stand.post(stand.sites["north"]) == (200, stand.upstream.answer)
    finally:
        stand.upstream.answer = b"ok"


def _key(stand: Stand) -> bytes:
    return f"Flwr-Public-Key: {stand.sites['north'].header}\r\n".encode()


def _status(stand: Stand, line: bytes) -> int:
    answer = _exchange(stand, line + b"\r\n" + HOST + _key(stand) + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found, answer
    return int(found[1])


def _exchange(stand: Stand, request: bytes) -> bytes:
    """Everything that comes back until the gateway closes."""
    received = b""
    with stand.raw(stand.sites["north"]) as connection:
        connection.sendall(request)
        with contextlib.suppress(ssl.SSLEOFError, ConnectionResetError):  # closed with bytes of ours unread
            while data := connection.recv(65536):
                received += data
    return received
