"""Addresses and node keys: what is allowed is taken apart, anything else is refused."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from common.network.address import host_and_port
from common.network.node_key import key_header, new_node_key


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("federation.example.org:9443", "federation.example.org", 9443),
        ("localhost:1", "localhost", 1),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("[::1]:9443", "::1", 9443),
        ("[2001:db8::7]:9443", "2001:db8::7", 9443),
        ("a.b-c.d1:9", "a.b-c.d1", 9),
    ],
)
def test_host_and_port_are_taken_apart(address: str, host: str, port: int) -> None:
    assert host_and_port(address) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        "", ":", ":1", "a", "a:", "a:0", "a:65536", "a:-1", "a:+1", "a: 1", "a:1 ", "a:1\n", "a:٣", "a:123456", "A:1",
        "a b:1", "a..b:1", ".a:1", "a.:1", "-a:1", "a-:1", "a/b:1", "https://a:1", "u@a:1", "a;b:1", "a\n:1", "1.2.3:1",
        "1.2.3.256:1", "::1:9443", "[::1]", "[::1]:", "[a]:1", "[127.0.0.1]:1", "[fe80::1%eth0]:1", "a" * 64 + ":1",
        ".".join(["a" * 60] * 5) + ":1", "ä:1", "*:1", "0x7f000001.0x1:1",
    ],
)  # fmt: skip
def test_anything_else_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="has to be"):
        host_and_port(address)


@given(st.text(max_size=30))
def test_no_text_breaks_it(address: str) -> None:
    try:
        host, port = host_and_port(address)
    except ValueError:
        return
    assert host.isascii() and not set(host) & set(" ;{}\"'\\\n$#/@") and 1 <= port <= 65535


def test_a_node_keys_line_is_taken_as_it_was_made_only() -> None:
    private, public = new_node_key()
    line = public.decode()
    assert private.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----") and "\n" not in line
    assert set(key_header(line)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    edwards = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    wrong = [line + "\n", line + " comment", " " + line, line[:-4], line + "\n" + line, "", private.decode(), "ä"]
    for each in (*wrong, other.decode(), edwards.decode()):
        with pytest.raises(ValueError, match="it has to be one line"):
            key_header(each)
