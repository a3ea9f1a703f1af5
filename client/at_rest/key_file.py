"""A private signing key in a file: PEM, encrypted as everything that a site keeps to itself is."""

from pathlib import Path

from client.at_rest.files import is_sealed
from client.at_rest.key import vaulted
from client.config import SiteConfig
from common.files import read_private, write_atomic, write_private
from common.secagg.key_pem import key_from_pem, key_to_pem
from common.secagg.primitives import SigningKey

_PLACE = ("key", "signing")  # the file's name is not in it: the next key takes the present one's file as it is


def read_key(config: SiteConfig, path: Path) -> SigningKey:
    """The key in `path`, also in one that an earlier version left in the open.

    Raises ConsiliumError if it is damaged or does not open, or if others may read the file.
    """
    data = read_private(path)
    if is_sealed(data):
        data = vaulted(config).open(data, *_PLACE, source=str(path))
    return key_from_pem(data, source=str(path))


def write_key(config: SiteConfig, path: Path, key: SigningKey) -> None:
    """Write `key` to a new file. Raises ConsiliumError if there is one."""
    write_private(path, vaulted(config).seal(key_to_pem(key), *_PLACE))


def protect_key(config: SiteConfig, path: Path) -> bool:
    """Encrypt a key that an earlier version left in the open; whether it was."""
    if is_sealed(read_private(path)):
        return False
    pem = key_to_pem(read_key(config, path))
    write_atomic(path, vaulted(config).seal(pem, *_PLACE), private=True)
    return True
