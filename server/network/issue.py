"""What leaves the coordinator for a hospital: its certificate and the invitation around it. Neither holds a secret."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from common.errors import ConsiliumError
from common.files import exists, read_bytes, read_private
from common.network import certificates
from common.network.documents import Certificate, Invitation
from common.network.pem import one_certificate, p256_key, p256_request
from common.plan import Plan
from common.secagg.json_view import to_json
from common.secagg.messages import SignedRoster
from server.network.admission import Applicant
from server.network.home import Home
from server.network.succession import Rosters

SOON = timedelta(days=30)
"""A certificate that ends sooner is renewed, and warned of."""


def read_authority(home: Home, *, now: datetime) -> tuple[bytes, bytes]:
    """Key and certificate of the authority that signs. Raises ConsiliumError unless they fit and are valid `now`."""
    path = home.certificate("authority")
    key, certificate = read_private(home.key("authority")), read_bytes(path)
    p256_key(key, source=str(home.key("authority")))
    try:
        certificates.check_certificate(certificate, authority_pem=certificate, key_pem=key, now=now, source=str(path))
    except ConsiliumError as error:
        if now <= certificates.expires(certificate, source=str(path)):
            raise
        then = f"`consilium server renew {home.folder} --authority` makes a new one"
        raise ConsiliumError(f"{str(error).rstrip('.')}: {then}.") from None
    return key, certificate


def certificate_for(
    home: Home, applicant: Applicant, authority: tuple[bytes, bytes], *, now: datetime, anew: bool = False
) -> bytes:
    """PEM of the hospital's certificate: the present one, or a new one where that ends soon or does not fit, or `anew`.

    Raises ConsiliumError.
    """
    path = home.site_certificate(applicant.site)
    if not anew and exists(path) and _serves(present := read_bytes(path), applicant, authority[1], now=now):
        return present
    request = applicant.request.certificate_request.encode()
    return certificates.site_certificate(
        *authority, request, site=applicant.site, now=now, source=str(applicant.source)
    )


def invitations(
    home: Home, signed: Mapping[str, bytes], authority: bytes, plan: Plan, rosters: Rosters
) -> dict[str, bytes]:
    """Site -> its invitation, for every hospital of the latest roster that has a certificate in `signed`.

    Raises ConsiliumError where a certificate is none.
    """
    if rosters.latest is None:
        return {}
    latest, before = _content(rosters.latest), None if rosters.before is None else _content(rosters.before)
    issuer = certificate_text(authority, home.certificate("authority"))
    return {
        site: Invitation(
            federation=home.settings.federation,
            site=site,
            address=home.settings.address,
            authority=issuer,
            certificate=certificate_text(certificate, home.site_certificate(site)),
            plan=json.loads(plan.canonical),
            roster=latest,
            previous=before,
        ).to_bytes()
        for site, certificate in signed.items()
        if site in rosters.latest.roster.sites
    }


def certificate_text(pem: bytes, path: Path) -> str:
    """The certificate as an invitation holds it. path: where it stands. Raises ConsiliumError."""
    try:
        return str(TypeAdapter(Certificate).validate_python(pem.decode()))
    except ValueError:  # of pydantic, or of bytes that are no text
        raise ConsiliumError(f"{path}: not one certificate in PEM form.") from None


def _serves(certificate: bytes, applicant: Applicant, authority: bytes, *, now: datetime) -> bool:
    try:
        certificates.check_certificate(certificate, authority_pem=authority, now=now, site=applicant.site)
        request = p256_request(applicant.request.certificate_request.encode(), source=str(applicant.source))
        same_key = one_certificate(certificate, source="").public_key() == request.public_key()
        return same_key and certificates.expires(certificate) > now + SOON
    except ConsiliumError:
        return False  # damaged, expired or of an authority before this one: it is replaced


def _content(signed: SignedRoster) -> dict[str, Any]:
    """As it was proposed: signatures that come in do not make an invitation another one."""
    return dict(json.loads(to_json(replace(signed, signers=(), signatures=()))))
