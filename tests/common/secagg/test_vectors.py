"""Published vectors, through our own wrappers. Each names where it is printed."""

import numpy as np
import pytest

from common.secagg import primitives
from common.secagg.keystream import BLOCK, Keystream
from common.secagg.primitives import ExchangeKey, SigningKey, digest, fingerprint, seal, unseal
from tests.common.secagg.naive import counter_mode


def _hex(*parts: str) -> bytes:
    return bytes.fromhex("".join(parts))


# RFC 7748, section 5.2: scalar, u-coordinate of the peer, u-coordinate of the product.
X25519 = [
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
]


@pytest.mark.parametrize(("scalar", "peer", "product"), X25519)
def test_x25519(scalar: str, peer: str, product: str) -> None:
    assert ExchangeKey.from_bytes(_hex(scalar)).agree(_hex(peer)) == _hex(product)


def test_x25519_iterated() -> None:
    """RFC 7748, section 5.2: k and u start as 9; after 1 and after 1,000 rounds."""
    k = u = _hex("09", "00" * 31)
    for turn in range(1_000):
        product = ExchangeKey.from_bytes(k).agree(u)
        assert product is not None
        k, u = product, k
        if turn == 0:
            assert k == _hex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
    assert k == _hex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")


def test_x25519_agreement() -> None:
    """RFC 7748, section 6.1."""
    alice = ExchangeKey.from_bytes(_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = ExchangeKey.from_bytes(_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert alice.public_bytes == _hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert bob.public_bytes == _hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    shared = _hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert alice.agree(bob.public_bytes) == bob.agree(alice.public_bytes) == shared


# The points of small order on Curve25519 (Bernstein, "Curve25519", contributory behaviour), little-endian.
SMALL_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
]


@pytest.mark.parametrize("peer", SMALL_ORDER)
def test_a_point_of_small_order_gives_no_secret(peer: str) -> None:
    assert ExchangeKey.from_bytes(bytes(range(32))).agree(_hex(peer)) is None


# RFC 8032, section 7.1, tests 1, 2, 3 and SHA(abc): private key, public key, message, signature.
ED25519 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("private", "public", "message", "signature"), ED25519)
def test_ed25519(private: str, public: str, message: str, signature: str) -> None:
    key = SigningKey.from_bytes(_hex(private))
    assert key.verify_key == _hex(public) and key.private_bytes == _hex(private)
    assert key._sign_bare(_hex(message)) == _hex(signature)
    assert primitives._verify_bare(key.verify_key, _hex(message), _hex(signature))
    assert not primitives._verify_bare(key.verify_key, _hex(message, "00"), _hex(signature))


# RFC 5869, appendix A.1 to A.3 (SHA-256): input, salt, info, output.
HKDF = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("secret", "salt", "info", "output"), HKDF)
def test_hkdf(secret: str, salt: str, info: str, output: str) -> None:
    found = primitives._hkdf(_hex(secret), salt=_hex(salt), info=_hex(info), length=len(output) // 2)
    assert found == _hex(output)


def test_the_judge_of_the_keystreams() -> None:
    """NIST SP 800-38A, F.5.5 (CTR-AES256.Encrypt): four blocks."""
    key = _hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = _hex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    )
    cipher = _hex(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
    )
    stream = counter_mode(key, int.from_bytes(bytes(range(0xF0, 0x100)), "big"), 64)
    assert bytes(a ^ b for a, b in zip(plain, stream, strict=True)) == cipher


def test_keystream() -> None:
    """McGrew and Viega, "The Galois/Counter Mode of Operation", test case 14: key, nonce and plain text all zero."""
    words = Keystream(bytes(32), np.empty(BLOCK, dtype=np.uint8)).words(np.uint32, 4)
    assert words.tobytes() == _hex("cea7403d4d606b6e074ec5d3baf39d18")


# McGrew and Viega, appendix B, test cases 13 to 16 (AES-256, nonce of 96 bits):
# key, nonce, plain text, associated data, cipher text, tag.
_KEY, _IV = "feffe9928665731c6d6a8f9467308308" * 2, "cafebabefacedbaddecaf888"
_PLAIN = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
_CIPHER = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
GCM = [
    ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
    (_KEY, _IV, _PLAIN, "", _CIPHER, "b094dac5d93471bdec1a502270e3cc6c"),
    (
        _KEY,
        _IV,
        _PLAIN[:-8],
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        _CIPHER[:-8],
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
]


@pytest.mark.parametrize(("key", "nonce", "plain", "associated", "cipher", "tag"), GCM)
def test_gcm(key: str, nonce: str, plain: str, associated: str, cipher: str, tag: str) -> None:
    sealed = seal(_hex(key), _hex(plain), _hex(associated), lambda size: _hex(nonce)[:size])
    assert sealed == _hex(nonce, cipher, tag)
    assert unseal(_hex(key), sealed, _hex(associated)) == _hex(plain)


def test_sha256() -> None:
    """FIPS 180-2, appendix B.1: "abc"; the fingerprint takes 4 bytes at a time, mod 100,000."""
    hashed = _hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert digest(b"abc") == hashed
    groups = [int(hashed.hex()[8 * i : 8 * i + 8], 16) for i in range(8)]
    assert fingerprint(b"abc").split() == [str(group)[-5:] for group in groups]
