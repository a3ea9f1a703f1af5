"""`consilium server init`: the coordinator's folder is made once, whole, and closed to everybody else."""

import os
import tomllib
from pathlib import Path

import pytest
from cryptography import x509

from common.errors import ConsiliumError
from common.network.certificates import check_certificate, fingerprint
from server.network.home import load_home
from server.roster import load_coordinator_key
from tests.server.network.conftest import Command, init, now, tree

FILES = {
    "coordinator.toml",
    *(f"keys/{name}.key" for name in ("authority", "coordinator", "gateway", "link")),
    "keys/superexec.secret",
    *(f"certificates/{name}.crt" for name in ("authority", "gateway", "link")),
}


def _init(consilium: Command, **options: object) -> str:
    given = {"federation": "stroke", "address": "127.0.0.1:19443"} | options
    return consilium("server", "init", "home", *(w for k, v in given.items() for w in (f"--{k}", v)))


def test_init_makes_everything_and_nobody_else_may_enter(consilium: Command) -> None:
    os.umask(0o000)
    said = init(consilium)
    os.umask(0o022)
    assert {name.removeprefix("home/") for name in tree()} == FILES
    assert Path("home").stat().st_mode & 0o777 == Path("home/keys").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in Path("home/keys").iterdir()} == {0o600}
    home = load_home(Path("home"))
    load_coordinator_key(home.coordinator_key)
    authority = home.certificate("authority").read_bytes()
    for name in ("authority", "gateway", "link"):
        key = home.key(name).read_bytes()
        check_certificate(home.certificate(name).read_bytes(), authority_pem=authority, key_pem=key, now=now())
    assert fingerprint(authority) in said and "SECRET" in said and "consilium server enrol home" in said
    for path in home.keys.iterdir():  # nothing secret is printed, or stands in another file
        secret = b"".join(path.read_bytes().split(b"\n")[1:2] or [path.read_bytes()])[-30:]  # of a PEM, behind its head
        assert secret.decode() not in said
        assert not [name for name, data in tree().items() if secret in data and name != f"home/keys/{path.name}"]


def test_the_gateway_holds_the_name_that_is_dialled(consilium: Command) -> None:
    _init(consilium, address="federation.example.org:9443")
    certificate = x509.load_pem_x509_certificate(Path("home/certificates/gateway.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["federation.example.org"]


@pytest.mark.parametrize(
    ("address", "listen"),
    [
        ("federation.example.org:9443", "0.0.0.0:9443"),
        ("127.0.0.1:9443", "127.0.0.1:9443"),
        ("localhost:9443", "127.0.0.1:9443"),
        ("[2001:db8::1]:9443", "[::]:9443"),
        ("[::1]:9443", "[::1]:9443"),
    ],
)
def test_where_the_gateway_listens_without_being_told(address: str, listen: str, consilium: Command) -> None:
    _init(consilium, address=address)
    assert tomllib.loads(Path("home/coordinator.toml").read_text())["listen"] == listen


def test_init_again_changes_nothing(consilium: Command) -> None:
    first = init(consilium)
    before = tree()
    again = init(consilium)
    assert tree() == before and "stays as it is" in again and first.splitlines()[-4:] == again.splitlines()[-4:]
    text = Path("home/coordinator.toml").read_text()
    Path("home/coordinator.toml").write_text(text.replace("127.0.0.1:19443", "127.0.0.1:19555"))
    _init(consilium, address="127.0.0.1:19555")  # what is not named is not compared
    with pytest.raises(
        ConsiliumError, match=r"address is '127\.0\.0\.1:19555' already, not '127\.0\.0\.1:19443'; edit"
    ):
        init(consilium)
    with pytest.raises(ConsiliumError, match="federation is 'stroke' already, not 'heart'; another federation needs"):
        _init(consilium, federation="heart", address="127.0.0.1:19555")


def test_init_leaves_a_folder_alone_that_holds_something_else(consilium: Command) -> None:
    Path("home").mkdir()
    Path("home/thesis.txt").write_text("mine")
    with pytest.raises(ConsiliumError, match=r"home: is not empty and holds no coordinator\.toml"):
        init(consilium)
    assert tree() == {"home/thesis.txt": b"mine"}


def test_init_takes_an_empty_folder_that_is_there(consilium: Command) -> None:
    Path("home").mkdir(mode=0o755)
    Path("home/lost+found").mkdir()  # of a volume of its own
    init(consilium)
    assert Path("home").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"federation": "Stroke!"}, "federation"),
        ({"address": "federation.example.org"}, "HOST:PORT with a port"),
        ({"address": "Federation.example.org:9443"}, "lower-case"),
        ({"listen": "federation.example.org:9443"}, "has to be an IP address of this machine"),
        ({"link-port": 80}, "greater than or equal to 1024"),
        ({"link-port": 19443}, "where the gateway listens"),
    ],
)
def test_init_refuses_in_one_sentence(options: dict[str, object], words: str, consilium: Command) -> None:
    with pytest.raises(ConsiliumError, match=words) as caught:
        _init(consilium, **options)
    assert "\n" not in str(caught.value) and not Path("home").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("address = 5", r"required key 'federation' is missing|'address' is 5"),
        ('federation = "stroke"\naddress = "a:1"\nlisten = "0.0.0.0:2"\ncolour = 1\n', r"unknown key 'colour'"),
        ("not toml", r"not valid TOML"),
    ],
)
def test_a_damaged_coordinator_toml_is_named(text: str, words: str, consilium: Command) -> None:
    init(consilium)
    Path("home/coordinator.toml").write_text(text)
    with pytest.raises(ConsiliumError, match=rf"home/coordinator\.toml: .*({words})"):
        consilium("server", "enrol", "home")
    with pytest.raises(ConsiliumError, match="is no coordinator's folder, it has no"):
        consilium("server", "enrol", ".")
