"""What the gateway does when sites leave, keys are replaced, a site asks too much, or the SuperLink is another."""

import datetime
import http.client
import threading

import pytest
from cryptography import x509

from common.errors import ConsiliumError
from common.network import certificates
from server.network import gateway
from server.network.gateway_template import BURST, CONNECTIONS, MOST_BYTES
from tests.server.network.stand import PULL, Site, Stand, process_status
from tests.server.network.upstream import until


@pytest.fixture
def north(stand: Stand) -> Site:
    return stand.sites["north"]


def test_a_revoked_site_is_shut_out_also_on_the_connection_that_it_has_open(stand: Stand, north: Site) -> None:
    kept = stand.connection(north)
    assert _ask(kept, north) == 200
    stand.home.request("north").rename(stand.folder / "former.json")
    stand.reload()
    before = len(stand.upstream.arrived)
    kept.auto_open = 0  # this connection, not a new one
    with pytest.raises((http.client.HTTPException, OSError)):
        _ask(kept, north)
    assert stand.post(north)[0] == 403
    assert len(stand.upstream.arrived) == before
    assert stand.post(stand.sites["south"])[0] == 200


def test_a_request_without_a_certificate_is_no_enrolment(stand: Stand, north: Site) -> None:
    stand.home.site_certificate("north").unlink()
    stand.reload()
    assert stand.post(north)[0] == 403


def test_a_new_site_passes_after_a_reload(stand: Stand) -> None:
    west = stand.enrol("west")
    assert stand.post(west)[0] == 403
    stand.reload()
    assert stand.post(west)[0] == 200


def test_a_sites_new_certificate_passes_at_once_and_the_old_one_until_it_ends(stand: Stand, north: Site) -> None:
    key = certificates.new_key()
    paths = stand.keep("north-new", key, stand.issue(key, "north"))
    new = Site("north", north.header, *paths)
    assert [stand.post(each)[0] for each in (new, north)] == [200, 200]
    stand.reload()
    assert [stand.post(each)[0] for each in (new, north)] == [200, 200]


def test_a_sites_new_node_key_replaces_the_old_one(stand: Stand, north: Site) -> None:
    new = stand.enrol("north")
    stand.reload()
    assert stand.post(new)[0] == 200
    assert stand.post(new, key_of=north)[0] == 403


def test_the_gateways_new_certificate_is_shown_after_a_reload_and_requests_under_way_are_answered(
    stand: Stand, north: Site
) -> None:
    before = _shown(stand, north)
    stand.upstream.open.clear()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(stand.post(north)[0]))
    asking.start()
    until(lambda: len(stand.upstream.arrived) == 1, "the request is under way")
    _renew(stand)
    stand.write()
    old = stand.workers()
    assert gateway.reload(stand.home)
    until(lambda: _shown(stand, north) != before, "the new certificate")
    assert old & stand.workers(), "one old worker still has a request"
    stand.upstream.open.set()
    asking.join(30)
    assert answers == [200]
    until(lambda: not old & stand.workers(), "the old workers end")
    assert _shown(stand, north) == x509.load_pem_x509_certificate(stand.home.certificate("gateway").read_bytes())


def test_too_many_requests_are_503_for_that_site_alone(stand: Stand, north: Site) -> None:
    """Never 429, after which a SuperNode stops asking for good."""
    context = north.context()
    flood = [(stand.raw(north, context), north) for _ in range(BURST + 60)]
    beside = [(stand.raw(stand.sites["south"]), stand.sites["south"]) for _ in range(CONNECTIONS)]
    for connection, site in flood + beside:
        lines = f"POST {PULL} HTTP/1.1", "Host: g", f"Flwr-Public-Key: {site.header}", "Content-Length: 0", "", ""
        connection.sendall("\r\n".join(lines).encode())
    assert {connection.recv(65536)[9:12] for connection, _ in beside} == {b"200"}
    found = [connection.recv(65536)[9:12] for connection, _ in flood]
    for connection, _ in flood + beside:
        connection.close()
    assert set(found) == {b"200", b"503"} and "limiting requests" in stand.stderr()
    assert stand.post(north)[0] == 200, "afterwards it is served again"


def test_a_site_that_waits_for_each_answer_is_never_refused(stand: Stand, north: Site) -> None:
    connection = stand.connection(north)
    assert {_ask(connection, north) for _ in range(BURST + 20)} == {200}
    connection.close()


def test_too_many_connections_at_once_are_503_for_that_site_alone(stand: Stand, north: Site) -> None:
    stand.upstream.open.clear()
    held = [stand.connection(north) for _ in range(CONNECTIONS)]
    for number, connection in enumerate(held, 1):
        connection.request("POST", PULL, b"", {"Flwr-Public-Key": north.header})
        until(lambda number=number: len(stand.upstream.arrived) == number, "the request is under way")
    assert stand.post(north)[0] == 503
    south: list[int] = []
    asking = threading.Thread(target=lambda: south.append(stand.post(stand.sites["south"])[0]))
    asking.start()
    until(lambda: len(stand.upstream.arrived) == CONNECTIONS + 1, "the other site's request is under way")
    stand.upstream.open.set()
    asking.join(30)
    assert south == [200] and {connection.getresponse().status for connection in held} == {200}
    for connection in held:
        connection.close()


def test_a_superlink_of_another_authority_receives_nothing(stand: Stand, north: Site) -> None:
    """Another user of this machine may take the port while the SuperLink is down."""
    key, authority = certificates.new_authority("Consilium authority of test", now=stand.made)
    pair = certificates.server_certificate(key, authority, ("localhost", "127.0.0.1"), now=stand.made)
    paths = stand.keep("impostor", *pair)
    stand.replace_upstream(paths[1], paths[0])
    assert stand.post(north, body=b"secret")[0] == 502
    assert stand.upstream.arrived == []


def test_the_gateways_certificate_is_not_the_superlinks(stand: Stand, north: Site) -> None:
    stand.replace_upstream(stand.home.certificate("gateway"), stand.home.key("gateway"))
    assert stand.post(north, body=b"secret")[0] == 502
    assert stand.upstream.arrived == []


def test_without_a_superlink_the_answer_is_one_after_which_a_supernode_tries_again(stand: Stand, north: Site) -> None:
    stand.upstream.stop()
    assert stand.post(north)[0] in (502, 503, 504)
    stand.replace_upstream(stand.home.certificate("link"), stand.home.key("link"))
    assert stand.post(north)[0] == 200


def test_nothing_of_a_request_is_kept_and_no_version_is_told(stand: Stand, north: Site) -> None:
    body = b"weights of a hospital" * (MOST_BYTES // 21)
    assert stand.post(north, body=body)[0] == 200
    for site, path in ((north, PULL), (north, "/v1/control/start-run"), (north, "/")):
        connection = stand.connection(site)
        connection.request("POST", path, b"weights", {"Flwr-Public-Key": site.header})
        answer = connection.getresponse()
        assert "nginx/" not in str(answer.headers) + answer.read().decode()
        assert datetime.datetime.strptime(answer.headers["Date"], "%a, %d %b %Y %H:%M:%S GMT"), (
            "hospitals compare clocks"
        )
        connection.close()
    stand.upstream.stop()
    assert stand.post(north, body=b"weights of a hospital")[0] == 502
    assert "buffered to a temporary file" not in stand.stderr()
    assert "weights" not in stand.stderr() and north.header not in stand.stderr()
    left = [path for path in (stand.home.folder / "state").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["nginx.pid"]
    assert stand.stderr().count("\n") <= 2, stand.stderr()


def test_it_runs_without_rights_and_has_no_file_elsewhere(stand: Stand) -> None:
    for pid in (stand.process.pid, *stand.workers()):
        status = process_status(pid)
        assert set(status["Uid"]) == {status["Uid"][0]} and int(status["Uid"][0]) != 0
        assert status["CapEff"] == ["0000000000000000"]
        for file in status["files"]:
            assert file.startswith((str(stand.folder), "/dev/")) or not file.startswith("/"), file
    assert gateway.running(stand.home) == stand.process.pid


def test_it_ends_with_all_its_workers(stand: Stand) -> None:
    workers = stand.workers()
    stand.process.terminate()
    assert stand.process.wait(30) == 0
    until(lambda: not any(process_status(pid) for pid in workers), "the workers end")
    assert gateway.running(stand.home) is None and gateway.reload(stand.home) is False


def test_a_number_that_another_program_has_now_is_not_the_gateway(stand: Stand) -> None:
    pid = stand.home.state / "gateway" / "nginx.pid"
    pid.write_text("1\n")
    assert gateway.running(stand.home) is None and gateway.reload(stand.home) is False
    pid.write_text("not a number")
    assert gateway.running(stand.home) is None
    pid.write_text(f"{stand.process.pid}\n")


def test_a_broken_configuration_never_reaches_a_running_gateway(stand: Stand, north: Site) -> None:
    conf = stand.home.folder / "gateway" / "nginx.conf"
    conf.write_bytes(conf.read_bytes().replace(b"listen ", b"lisssten ", 1))
    with pytest.raises(ConsiliumError, match=r'nginx\.conf: nginx refuses it: .*unknown directive "lisssten"'):
        gateway.reload(stand.home)
    assert stand.post(north)[0] == 200


def _ask(connection: http.client.HTTPSConnection, site: Site) -> int:
    connection.request("POST", PULL, b"", {"Flwr-Public-Key": site.header})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _shown(stand: Stand, site: Site) -> x509.Certificate:
    with stand.raw(site) as connection:
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))


def _renew(stand: Stand) -> None:
    """A new key and certificate of the gateway, by the same authority."""
    home = stand.home
    authority = (home.key("authority").read_bytes(), home.certificate("authority").read_bytes())
    key, certificate = certificates.server_certificate(*authority, home.server_names["gateway"], now=stand.made)
    home.key("gateway").write_bytes(key)
    home.certificate("gateway").write_bytes(certificate)
