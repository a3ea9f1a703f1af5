"""gateway/nginx.conf and sites.map: what they are written from, and what is said where that is not possible."""

import datetime
import re
import stat
from pathlib import Path

import pytest

from common.errors import ConsiliumError
from common.files import write_atomic, write_private
from common.network import certificates
from common.network.documents import SiteRequest
from common.network.node_key import key_header, new_node_key
from server.network import gateway
from server.network.gateway_template import PATHS
from server.network.home import Home, Settings
from tests.server.network.stand import fill, require_nginx

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    address = "127.0.0.1:9443"
    home = Home(tmp_path / "home", Settings(federation="test", address=address, listen=address, link_port=9092))
    fill(home, NOW)
    return home


def test_the_map_holds_one_line_for_each_enrolled_site(home: Home) -> None:
    lines = {name: _enrol(home, name) for name in ("south", "north")}
    _enrol(home, "west")
    home.site_certificate("west").unlink()
    gateway.write(home)
    written = (home.folder / "gateway" / "sites.map").read_text()
    assert written == "".join(f'"~^\\QCN={name}|{lines[name]}\\E\\z" {name};\n' for name in ("north", "south"))


def test_a_federation_without_sites_has_an_empty_map(home: Home) -> None:
    gateway.write(home)
    assert (home.folder / "gateway" / "sites.map").read_bytes() == b""
    require_nginx()
    gateway.check(home)


@pytest.mark.parametrize("listen", ["127.0.0.1:9443", "0.0.0.0:9443", "[::1]:9443", "[::]:9443"])
def test_nginx_accepts_what_is_written_for_every_kind_of_address(home: Home, listen: str) -> None:
    require_nginx()
    home = Home(home.folder, home.settings.model_copy(update={"listen": listen}))
    for name in ("0", "default", "include", "volatile", "hostnames", "a" * 64):
        _enrol(home, name)
    gateway.write(home)
    gateway.check(home)
    text = (home.folder / "gateway" / "nginx.conf").read_text()
    assert f"listen {listen} ssl;" in text and "server 127.0.0.1:9092;" in text


def test_hundreds_of_sites_fit(home: Home) -> None:
    require_nginx()
    for number in range(100):
        _enrol(home, f"site-{number}")
    gateway.write(home)
    gateway.check(home)
    assert len((home.folder / "gateway" / "sites.map").read_text().splitlines()) == 100


def test_a_folder_may_have_any_name_and_be_moved(tmp_path: Path, home: Home) -> None:
    require_nginx()
    gateway.write(home)
    moved = home.folder.rename(tmp_path / 'a $folder; {with} "quotes" and ä\'')
    gateway.check(Home(moved, home.settings))
    assert str(tmp_path) not in (moved / "gateway" / "nginx.conf").read_text()


def test_nothing_but_ten_paths_and_post_is_named(home: Home) -> None:
    gateway.write(home)
    text = (home.folder / "gateway" / "nginx.conf").read_text()
    (paths,) = re.findall(r"\^/v1/fleet/\(\?:([a-z|-]+)\)\\z", text)
    assert tuple(paths.split("|")) == PATHS
    assert text.count("proxy_pass") == 1 and "access_log off;" in text and "@" not in text.replace("@certificate", "")


def test_what_is_written_is_for_its_owner(home: Home) -> None:
    gateway.write(home)
    assert stat.S_IMODE((home.folder / "state" / "gateway").stat().st_mode) == 0o700
    before = (home.folder / "gateway" / "nginx.conf").read_bytes()
    gateway.write(home)
    assert (home.folder / "gateway" / "nginx.conf").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda home: home.certificate("gateway").unlink(), r"gateway\.crt: cannot be read"),
        (lambda home: home.key("gateway").unlink(), r"gateway\.key: cannot be read"),
        (lambda home: home.key("gateway").chmod(0o644), r"gateway\.key: has mode 644"),
        (lambda home: home.certificate("authority").unlink(), r"authority\.crt: cannot be read"),
        (lambda home: home.certificate("authority").write_bytes(b"x"), r"authority\.crt: not one certificate"),
        (
            lambda home: _replace_key(home.key("gateway"), certificates.new_key()),
            r"gateway\.crt: belongs to another key",
        ),
        (lambda home: write_atomic(home.request("north"), b"{}"), r"north\.request\.json: 'format' is None"),
        (
            lambda home: home.request("north").write_bytes(home.request("south").read_bytes()),
            r"north\.request\.json: .*south",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_nothing_is_written(home: Home, change: object, words: str) -> None:
    _enrol(home, "north")
    _enrol(home, "south")
    change(home)
    with pytest.raises(ConsiliumError, match=words) as caught:
        gateway.write(home)
    assert "\n" not in str(caught.value)
    assert not (home.folder / "gateway").exists()


def test_where_nginx_is_not_installed_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gateway, "PLACES", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConsiliumError, match=r"nginx: neither on PATH nor in .*; install it"):
        gateway.find_nginx()


def _replace_key(path: Path, data: bytes) -> None:
    path.unlink()
    write_private(path, data)


def _enrol(home: Home, name: str) -> str:
    """Leaves what enrolment leaves, and gives the header of the site's node key."""
    key, (_, public) = certificates.new_key(), new_node_key()
    request = certificates.certificate_request(name, key)
    document = SiteRequest(site=name, card={}, node_key=public.decode(), certificate_request=request.decode())
    authority = (home.key("authority").read_bytes(), home.certificate("authority").read_bytes())
    home.sites.mkdir(exist_ok=True)
    home.request(name).write_bytes(document.to_bytes())
    home.site_certificate(name).write_bytes(certificates.site_certificate(*authority, request, site=name, now=NOW))
    return key_header(public.decode())
