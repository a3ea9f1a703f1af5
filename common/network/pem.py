"""PEM text -> a P-256 key, a certificate, a request; anything else is one sentence."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.errors import ConsiliumError


def p256_key(pem: bytes, *, source: str) -> ec.EllipticCurvePrivateKey:
    """The private key. source: the file's name. Raises ConsiliumError."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConsiliumError(f"{source}: not a private key in PEM form without a password.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConsiliumError(f"{source}: not a P-256 key.")
    return key


def one_certificate(pem: bytes, *, source: str) -> x509.Certificate:
    """The one certificate in `pem`. Raises ConsiliumError."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConsiliumError(f"{source}: not one certificate in PEM form.") from None
    return certificate


def p256_request(pem: bytes, *, source: str) -> x509.CertificateSigningRequest:
    """The certificate request, which its own P-256 key has signed. Raises ConsiliumError."""
    try:
        request = x509.load_pem_x509_csr(pem)
        signed, key = request.is_signature_valid, request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ConsiliumError(f"{source}: not a certificate request in PEM form.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConsiliumError(f"{source}: is for a key that is not P-256.")
    if not signed:
        raise ConsiliumError(f"{source}: is not signed with its own key, so it is damaged or was changed.")
    return request
