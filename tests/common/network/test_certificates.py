"""Certificates: OpenSSL judges what was issued; what may not be used is refused in one sentence."""

import datetime
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from common.errors import ConsiliumError
from common.network import certificates
from common.network.certificates import check_certificate, new_authority, server_certificate, site_certificate

NOW = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
KEY = certificates.new_key()
REQUEST = certificates.certificate_request("north", KEY)
AUTHORITY_KEY, AUTHORITY = new_authority("Consilium authority of test", now=NOW)
CERTIFICATE = site_certificate(AUTHORITY_KEY, AUTHORITY, REQUEST, site="north", now=NOW)
SERVER_KEY, SERVER = server_certificate(AUTHORITY_KEY, AUTHORITY, ("example.org", "10.0.0.1", "::1"), now=NOW)


@pytest.mark.parametrize(
    ("certificate", "purpose", "fine"),
    [
        (CERTIFICATE, "sslclient", True),
        (CERTIFICATE, "sslserver", False),
        (SERVER, "sslserver", True),
        (SERVER, "sslclient", False),
    ],
)
def test_openssl_accepts_each_certificate_for_its_own_purpose(
    tmp_path: Path, certificate: bytes, purpose: str, fine: bool
) -> None:
    assert (_openssl_says(tmp_path, certificate, AUTHORITY, "-purpose", purpose) == "OK") is fine


def test_openssl_knows_the_servers_names(tmp_path: Path) -> None:
    for option, value, fine in (
        ("-verify_hostname", "example.org", True),
        ("-verify_hostname", "other.org", False),
        ("-verify_ip", "10.0.0.1", True),
        ("-verify_ip", "::1", True),
        ("-verify_ip", "10.0.0.2", False),
    ):
        assert (_openssl_says(tmp_path, SERVER, AUTHORITY, option, value) == "OK") is fine, value


def test_a_server_may_have_the_longest_name_there_is(tmp_path: Path) -> None:
    name = ".".join(["a" * 60] * 4)
    _, certificate = server_certificate(AUTHORITY_KEY, AUTHORITY, (name,), now=NOW)
    assert _openssl_says(tmp_path, certificate, AUTHORITY, "-verify_hostname", name) == "OK"


def test_the_coordinator_never_sees_a_sites_key_and_the_certificate_fits_it() -> None:
    check_certificate(CERTIFICATE, authority_pem=AUTHORITY, key_pem=KEY, site="north", now=NOW)
    assert b"PRIVATE" not in REQUEST + CERTIFICATE
    assert x509.load_pem_x509_certificate(CERTIFICATE).subject.rfc4514_string() == "CN=north"


def test_dates_are_those_asked_for_and_never_beyond_the_authoritys() -> None:
    assert certificates.expires(CERTIFICATE) == NOW + 397 * DAY
    assert certificates.expires(AUTHORITY) == NOW + 5 * 365 * DAY
    late = site_certificate(AUTHORITY_KEY, AUTHORITY, REQUEST, site="north", now=NOW + 1800 * DAY)
    assert certificates.expires(late) == certificates.expires(AUTHORITY)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (NOW - DAY, "is not valid before 2030-01-01 11:55 UTC; check this machine's clock (2029-12-31 12:00 UTC)"),
        (NOW + 398 * DAY, "expired on 2031-02-02 12:00 UTC; it has to be renewed"),
    ],
)
def test_a_certificate_is_valid_between_its_dates(now: datetime.datetime, words: str) -> None:
    for fine in (NOW - datetime.timedelta(minutes=4), NOW, NOW + 397 * DAY):
        check_certificate(CERTIFICATE, authority_pem=AUTHORITY, now=fine)
    _refused(words, lambda: check_certificate(CERTIFICATE, authority_pem=AUTHORITY, now=now))


def test_another_authority_another_key_or_another_site_is_named() -> None:
    _, other = new_authority("Consilium authority of test", now=NOW)
    _refused("was not issued by", lambda: check_certificate(CERTIFICATE, authority_pem=other, now=NOW))
    with_key = {"authority_pem": AUTHORITY, "key_pem": certificates.new_key(), "now": NOW}
    _refused("belongs to another key", lambda: check_certificate(CERTIFICATE, **with_key))
    for_south = {"authority_pem": AUTHORITY, "site": "south", "now": NOW}
    _refused("is for 'CN=north', but this is the site 'south'", lambda: check_certificate(CERTIFICATE, **for_south))
    _refused("was not issued by", lambda: check_certificate(CERTIFICATE, authority_pem=CERTIFICATE, now=NOW))
    _refused("not one certificate", lambda: check_certificate(CERTIFICATE * 2, authority_pem=AUTHORITY, now=NOW))
    _refused("not one certificate", lambda: check_certificate(b"x", authority_pem=AUTHORITY, now=NOW))


def test_a_changed_certificate_is_not_the_authoritys() -> None:
    der = bytearray(x509.load_pem_x509_certificate(CERTIFICATE).public_bytes(Encoding.DER))
    at = der.index(b"north")
    der[at : at + 5] = b"south"
    changed = x509.load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM)
    _refused("was not issued by", lambda: check_certificate(changed, authority_pem=AUTHORITY, now=NOW))


def _request(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, *names: tuple[x509.ObjectIdentifier, str]
) -> bytes:
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in names])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    # What a request asks for besides its name is not given.
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


P256 = ec.generate_private_key(ec.SECP256R1())
NORTH, SOUTH = (NameOID.COMMON_NAME, "north"), (NameOID.COMMON_NAME, "south")


@pytest.mark.parametrize(
    ("request_pem", "words"),
    [
        (_request(P256, SOUTH), "is for 'CN=south', but it has to be for 'CN=north'"),
        (_request(P256), "is for ''"),
        (_request(P256, NORTH, SOUTH), "CN=north"),
        (_request(P256, NORTH, NORTH), "CN=north,CN=north"),
        (_request(P256, (NameOID.ORGANIZATION_NAME, "x"), NORTH), "O=x"),
        (_request(P256, (NameOID.COMMON_NAME, "north|x")), "north|x"),
        (_request(ec.generate_private_key(ec.SECP384R1()), NORTH), "not P-256"),
        (_request(ed25519.Ed25519PrivateKey.generate(), NORTH), "not P-256"),
        (CERTIFICATE, "not a certificate request"),
        (b"", "not a certificate request"),
    ],
)
def test_a_request_for_another_name_or_kind_of_key_is_refused(request_pem: bytes, words: str) -> None:
    _refused(words, lambda: site_certificate(AUTHORITY_KEY, AUTHORITY, request_pem, site="north", now=NOW))


def test_a_request_that_its_key_did_not_sign_is_refused() -> None:
    request = x509.load_pem_x509_csr(_request(P256, SOUTH))
    der = bytearray(request.public_bytes(Encoding.DER))
    at = der.index(b"south")
    der[at : at + 5] = b"north"
    changed = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    _refused("not signed with its own key", lambda: _issue(changed))


def test_a_site_does_not_become_an_authority_because_it_asked() -> None:
    issued = x509.load_pem_x509_certificate(_issue(_request(P256, NORTH)))
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    kinds = {type(extension.value) for extension in issued.extensions}
    assert x509.SubjectAlternativeName not in kinds and len(issued.extensions) == 5


def test_an_authority_signs_within_its_own_dates_and_with_its_own_key() -> None:
    for now in (NOW - DAY, NOW + 1826 * DAY):
        _refused("the authority's certificate: is valid from 2030-01-01", lambda now=now: _issue(REQUEST, now=now))
    wrong = certificates.new_key()
    _refused(
        "the authority's key: does not belong",
        lambda: site_certificate(wrong, AUTHORITY, REQUEST, site="north", now=NOW),
    )


def test_keys_of_another_kind_are_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _refused("not a P-256 key", lambda: certificates.certificate_request("north", other))
    _refused("not a private key", lambda: certificates.certificate_request("north", b"x"))


def test_a_fingerprint_can_be_read_aloud_and_is_openssls(tmp_path: Path) -> None:
    words = certificates.fingerprint(AUTHORITY).split(" ")
    assert [len(word) for word in words] == [4] * 16
    (tmp_path / "a.crt").write_bytes(AUTHORITY)
    done = subprocess.run(
        [_openssl(), "x509", "-in", str(tmp_path / "a.crt"), "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.partition("=")[2].strip().replace(":", "").lower() == "".join(words)


def _issue(request: bytes, *, now: datetime.datetime = NOW) -> bytes:
    return site_certificate(AUTHORITY_KEY, AUTHORITY, request, site="north", now=now)


def _openssl() -> str:
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("the openssl command is not installed")
    return found


def _openssl_says(folder: Path, certificate: bytes, authority: bytes, *options: str) -> str:
    (folder / "authority.crt").write_bytes(authority)
    (folder / "leaf.crt").write_bytes(certificate)
    fixed = ["-x509_strict", "-attime", str(int(NOW.timestamp())), "-CAfile", str(folder / "authority.crt")]
    done = subprocess.run(
        [_openssl(), "verify", *fixed, *options, str(folder / "leaf.crt")], capture_output=True, text=True
    )
    assert (done.returncode == 0) == done.stdout.endswith(": OK\n")
    return "OK" if done.returncode == 0 else done.stderr


def _refused(words: str, action: Callable[[], object]) -> None:
    with pytest.raises(ConsiliumError) as caught:
        action()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
