"""Runs in a hospital's container: with its certificate and node key, ten paths pass the gateway and no other."""

import http.client
import ssl
import sys
import tempfile
from pathlib import Path

from client.config import load_site
from client.network.home import Home, load_connection
from client.network.keys import public_node_key, tls_key
from common.network.address import host_and_port
from common.network.node_key import key_header
from server.network.gateway_template import PATHS

OTHERS = ("/v1/control/list-runs", "/v1/runtime/acquire-task", "/v1/fleet/../control/list-runs", "/health", "/")


def main(site: Path) -> int:
    config = load_site(site)
    home = Home.of(config)
    address, trust = load_connection(home).address, ssl.create_default_context(cafile=str(home.authority))
    with tempfile.NamedTemporaryFile() as key:
        key.write(tls_key(config))
        key.flush()
        trust.load_cert_chain(home.certificate, key.name)
    header = {"Flwr-Public-Key": key_header(public_node_key(config))}
    for path, allowed in [*((f"/v1/fleet/{name}", True) for name in PATHS), *((path, False) for path in OTHERS)]:
        status = _status(address, trust, path, header)
        if (status != 403) is not allowed:
            print(f"{path}: {status}", file=sys.stderr)
            return 1
    if _status(address, trust, f"/v1/fleet/{PATHS[0]}", {"Flwr-Public-Key": "bm9ib2R5"}) != 403:
        return 1
    print(f"{len(PATHS)} paths pass, {len(OTHERS)} others do not, and none with another node key.")
    return 0


def _status(address: str, trust: ssl.SSLContext, path: str, headers: dict[str, str]) -> int:
    host, port = host_and_port(address)
    connection = http.client.HTTPSConnection(host, port, context=trust, timeout=10)
    connection.request("POST", path, body=b"", headers=headers)
    return connection.getresponse().status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
