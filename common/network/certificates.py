"""A federation's certificates: its authority signs the coordinator's and, from their requests, the hospitals'.

All keys are P-256 in PEM form (PKCS #8, not encrypted: the file's permissions protect them). Certificates follow
RFC 5280. `now` is an aware time, handed over so that nothing here reads a clock.
"""

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import ConsiliumError
from common.network.address import is_ip
from common.network.pem import one_certificate, p256_key, p256_request

AUTHORITY_DAYS = 5 * 365
CERTIFICATE_DAYS = 397
_CLOCKS = datetime.timedelta(minutes=5)
"""How far clocks may differ: a SuperNode's signature allows no more either."""


def new_key() -> bytes:
    """PEM of a new P-256 key."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def new_authority(name: str, *, now: datetime.datetime, days: int = AUTHORITY_DAYS) -> tuple[bytes, bytes]:
    """PEM of a new authority's key and of its certificate, which may sign no further authorities. name: its CN."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), _name(name)
    unsigned = _certificate(subject, subject, key.public_key(), now=now, until=now + datetime.timedelta(days=days))
    certificate = (
        unsigned.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pem(key), certificate.public_bytes(Encoding.PEM)


def server_certificate(
    authority_key_pem: bytes,
    authority_pem: bytes,
    names: Sequence[str],
    *,
    now: datetime.datetime,
    days: int = CERTIFICATE_DAYS,
) -> tuple[bytes, bytes]:
    """PEM of a new key and of its certificate as a server with these `names`, host names or IP addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = [x509.IPAddress(ipaddress.ip_address(n)) if is_ip(n) else x509.DNSName(n) for n in names]
    certificate = _sign(
        authority_key_pem,
        authority_pem,
        _name(names[0][:64]),
        key.public_key(),
        ExtendedKeyUsageOID.SERVER_AUTH,
        x509.SubjectAlternativeName(alternatives),
        now=now,
        days=days,
    )
    return _pem(key), certificate


def certificate_request(site: str, key_pem: bytes) -> bytes:
    """PEM of the request for a certificate of `site`, signed with its own key."""
    key = p256_key(key_pem, source="the TLS key")
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(site)).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def site_certificate(
    authority_key_pem: bytes,
    authority_pem: bytes,
    request_pem: bytes,
    *,
    site: str,
    now: datetime.datetime,
    days: int = CERTIFICATE_DAYS,
    source: str = "the certificate request",
) -> bytes:
    """PEM of the certificate with which `site` may connect as a client, and which is good for nothing else.

    Raises ConsiliumError unless the request is signed with its own key, holds a P-256 key and names `site` alone.
    """
    request = p256_request(request_pem, source=source)
    if request.subject != _name(site):
        found = ascii(request.subject.rfc4514_string())
        raise ConsiliumError(f"{source}: is for {found}, but it has to be for 'CN={site}', the site that sends it.")
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    return _sign(authority_key_pem, authority_pem, _name(site), request.public_key(), usage, now=now, days=days)


def check_certificate(
    cert_pem: bytes,
    *,
    authority_pem: bytes,
    now: datetime.datetime,
    key_pem: bytes | None = None,
    site: str | None = None,
    source: str = "the certificate",
) -> None:
    """Raises ConsiliumError unless this authority signed the certificate and it is valid `now`.

    key_pem: the private key that it has to belong to. site: whose certificate it has to be. Both are checked if given.
    """
    certificate = one_certificate(cert_pem, source=source)
    authority = one_certificate(authority_pem, source="the authority's certificate")
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        raise ConsiliumError(f"{source}: was not issued by this federation's authority.") from None
    if key_pem is not None:
        check_pair(cert_pem, key_pem, source=source)
    if site is not None and certificate.subject != _name(site):
        found = ascii(certificate.subject.rfc4514_string())
        raise ConsiliumError(f"{source}: is for {found}, but this is the site '{site}'.")
    if now < certificate.not_valid_before_utc:
        date = _day(certificate.not_valid_before_utc)
        raise ConsiliumError(f"{source}: is not valid before {date}; check this machine's clock ({_day(now)}).")
    if now > certificate.not_valid_after_utc:
        raise ConsiliumError(f"{source}: expired on {_day(certificate.not_valid_after_utc)}; it has to be renewed.")


def check_pair(cert_pem: bytes, key_pem: bytes, *, source: str = "the certificate") -> None:
    """Raises ConsiliumError unless the certificate was issued for this private key."""
    certificate, key = one_certificate(cert_pem, source=source), p256_key(key_pem, source=f"the key of {source}")
    if certificate.public_key() != key.public_key():
        raise ConsiliumError(f"{source}: belongs to another key than the one here.")


def expires(cert_pem: bytes, *, source: str = "the certificate") -> datetime.datetime:
    """When the certificate ends, UTC. Raises ConsiliumError if it is none."""
    return one_certificate(cert_pem, source=source).not_valid_after_utc


def fingerprint(cert_pem: bytes, *, source: str = "the certificate") -> str:
    """SHA-256 of the certificate, 64 hexadecimal digits in groups of four: what two people compare by telephone."""
    digits = one_certificate(cert_pem, source=source).fingerprint(hashes.SHA256()).hex()
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


def _sign(
    authority_key_pem: bytes,
    authority_pem: bytes,
    subject: x509.Name,
    key: CertificatePublicKeyTypes,
    purpose: x509.ObjectIdentifier,
    *more: x509.ExtensionType,
    now: datetime.datetime,
    days: int,
) -> bytes:
    """PEM of the certificate of `subject`; it never outlasts the authority. Raises ConsiliumError."""
    signer = p256_key(authority_key_pem, source="the authority's key")
    authority = one_certificate(authority_pem, source="the authority's certificate")
    if signer.public_key() != authority.public_key():
        raise ConsiliumError("the authority's key: does not belong to the authority's certificate.")
    if not authority.not_valid_before_utc <= now < authority.not_valid_after_utc:
        since, until = _day(authority.not_valid_before_utc), _day(authority.not_valid_after_utc)
        raise ConsiliumError(f"the authority's certificate: is valid from {since} to {until}, not on {_day(now)}.")
    until_when = min(now + datetime.timedelta(days=days), authority.not_valid_after_utc)
    unsigned = _certificate(subject, authority.subject, key, now=now, until=until_when)
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    unsigned = (
        unsigned.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    for extension in more:
        unsigned = unsigned.add_extension(extension, critical=False)
    return unsigned.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    *,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _day(moment: datetime.datetime) -> str:
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC"
