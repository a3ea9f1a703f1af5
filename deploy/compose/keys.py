"""Keys and certificates for one federation on one machine: the coordinator's certificate, the sites' node keys."""

import datetime
import secrets

from common.network import certificates
from common.network.node_key import new_node_key

VALID_DAYS = 397


def server_certificate(names: tuple[str, ...]) -> tuple[bytes, bytes, bytes]:
    """PEM of an authority's certificate, of a server certificate for `names`, and of that server's P-256 key.

    The authority's own key exists in memory only: nobody can sign a second server with it.
    """
    now = datetime.datetime.now(datetime.UTC)
    authority_key, authority = certificates.new_authority("Consilium authority", now=now, days=VALID_DAYS)
    key, server = certificates.server_certificate(authority_key, authority, (*names, "127.0.0.1"), now=now)
    return authority, server, key


def node_key() -> tuple[bytes, bytes]:
    """A site's private and public P-384 key in OpenSSH's format, which is what a SuperNode reads."""
    return new_node_key()


def shared_secret() -> bytes:
    """256 random bits as text: what the process that runs the coordinator's app shows to the SuperLink."""
    return secrets.token_urlsafe(32).encode()
