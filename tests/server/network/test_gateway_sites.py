"""Who passes the gateway: an enrolled site with its own certificate and its own node key together."""

import base64
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, load_ssh_private_key
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from common.network import certificates
from common.network.node_key import key_header, new_node_key
from tests.server.network.stand import PULL, Site, Stand, client_context, make_stand, require_nginx
from tests.server.network.upstream import DEADLINE_S


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    require_nginx()
    stand = make_stand(names=("north", "south", "s", "a-site_with-64-letters" + "x" * 42))
    yield stand
    stand.stop()


@pytest.fixture
def north(stand: Stand) -> Site:
    return stand.sites["north"]


def test_the_header_is_what_a_supernode_sends() -> None:
    private, public = new_node_key()
    key = load_ssh_private_key(private, None).public_key()
    assert key_header(public.decode()) == base64.b64encode(public_key_to_bytes(key)).decode()
    assert FLEET_HTTP_PUBLIC_KEY_HEADER.lower() == "flwr-public-key"


def test_every_enrolled_site_passes_with_its_own_key_and_with_no_other(stand: Stand) -> None:
    for site in stand.sites.values():
        for other in stand.sites.values():
            status, text = stand.post(site, key_of=other)
            assert status == (200 if site is other else 403)
            assert (
                site is other or text == b"gateway: no enrolled site has this certificate together with this node key\n"
            )


def test_a_key_that_differs_in_the_case_of_a_letter_is_another(stand: Stand, north: Site) -> None:
    for header in (north.header.swapcase(), north.header[:-9] + north.header[-9:].swapcase(), north.header + "\\E", ""):
        assert stand.post(Site(north.name, header, north.key, north.certificate))[0] == 403


def test_upstream_sees_one_key_the_one_that_was_looked_up(stand: Stand, north: Site) -> None:
    """nginx before 1.23 looks up the first of two headers, later ones both, joined."""
    before = len(stand.upstream.arrived)
    for first, second in ((north, stand.sites["south"]), (stand.sites["south"], north)):
        connection = stand.connection(north)
        connection.putrequest("POST", PULL)
        for header in (first.header, second.header):
            connection.putheader("flwr-public-key", header)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        assert connection.getresponse().status in ((200, 403) if first is north else (403,))
        connection.close()
    assert all(each.values("flwr-public-key") == [north.header] for each in stand.upstream.arrived[before:])


def test_a_site_cannot_say_where_it_comes_from(stand: Stand, north: Site) -> None:
    connection = stand.connection(north)
    false = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "http", "Forwarded": "for=1.2.3.4"}
    connection.request("POST", PULL, b"", {"Flwr-Public-Key": north.header, "Flwr-Timestamp": "now", **false})
    assert connection.getresponse().status == 200
    connection.close()
    last = stand.upstream.arrived[-1]
    assert [last.values(name.lower()) for name in false] == [[], [], []]
    assert last.values("flwr-timestamp") == ["now"]


def test_without_a_certificate_nothing_passes(stand: Stand, north: Site) -> None:
    _refused(stand, north, client_context(None, None), "NONE")


def test_a_certificate_of_another_authority_does_not_pass(stand: Stand, north: Site) -> None:
    key = certificates.new_key()
    request = certificates.certificate_request("north", key)
    other_key, other = certificates.new_authority("Consilium authority of test", now=stand.made)
    certificate = certificates.site_certificate(other_key, other, request, site="north", now=stand.made)
    _refused(stand, north, _client(stand, "other", key, certificate), "FAILED")


@pytest.mark.parametrize(
    ("name", "from_day", "days", "why"), [("old", 1, 5, "expired"), ("early", 12, 5, "not yet valid")]
)
def test_a_certificate_passes_between_its_dates_only(
    stand: Stand, north: Site, name: str, from_day: float, days: int, why: str
) -> None:
    key = certificates.new_key()
    certificate = stand.issue(key, "north", days_from_start=from_day, days=days)
    _refused(stand, north, _client(stand, name, key, certificate), why)


def test_the_gateways_own_certificate_is_none_of_a_site(stand: Stand, north: Site) -> None:
    for server in ("gateway", "link"):
        _refused(stand, north, client_context(stand.home.certificate(server), stand.home.key(server)), "FAILED")


def test_a_site_is_no_authority(stand: Stand, north: Site) -> None:
    """South signs a certificate for north with its own, and sends both."""
    south, key = stand.sites["south"], certificates.new_key()
    signer = load_pem_private_key(south.key.read_bytes(), None)
    issuer = x509.load_pem_x509_certificate(south.certificate.read_bytes())
    subject = x509.load_pem_x509_certificate(north.certificate.read_bytes()).subject
    forged = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(load_pem_private_key(key, None).public_key())
        .serial_number(1)
        .not_valid_before(stand.made)
        .not_valid_after(stand.made + timedelta(days=30))
        .sign(signer, hashes.SHA256())
    )
    chain = forged.public_bytes(Encoding.PEM) + south.certificate.read_bytes()
    _refused(stand, north, _client(stand, "forged", key, chain), "FAILED")


def test_a_site_that_was_never_enrolled_does_not_pass(stand: Stand, north: Site) -> None:
    """Its certificate is the authority's, but nobody has put it on the list."""
    key = certificates.new_key()
    context = _client(stand, "stranger", key, stand.issue(key, "stranger"))
    before = len(stand.upstream.arrived)
    assert stand.post(north, context=context)[0] == 403
    assert len(stand.upstream.arrived) == before


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_tls_is_1_3_or_1_2_and_a_session_is_never_resumed(stand: Stand, north: Site, highest: ssl.TLSVersion) -> None:
    """A resumed session would bring a certificate back without a look at its dates."""
    context, session = north.context(maximum_version=highest), None
    for _ in range(4):
        plain = socket.create_connection(("127.0.0.1", stand.port), timeout=DEADLINE_S)
        with context.wrap_socket(plain, server_hostname="gateway", session=session) as connection:
            request = f"POST {PULL} HTTP/1.1\r\nHost: g\r\nFlwr-Public-Key: {north.header}\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(request.encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert connection.version() == highest.name.replace("v1_", "v1.")
            assert not connection.session_reused
            session = connection.session


def test_tls_1_1_is_refused(stand: Stand, north: Site) -> None:
    context = north.context()
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        stand.post(north, context=context)


def _client(stand: Stand, name: str, key: bytes, certificate: bytes) -> ssl.SSLContext:
    paths: tuple[Path, Path] = stand.keep(name, key, certificate)
    return client_context(paths[1], paths[0])


def _refused(stand: Stand, site: Site, context: ssl.SSLContext, why: str) -> None:
    """The gateway says why, and nothing reaches upstream."""
    before = len(stand.upstream.arrived)
    status, text = stand.post(site, context=context)
    assert status == 400 and text.startswith(b"gateway: client certificate: ") and why.encode() in text
    assert len(stand.upstream.arrived) == before
