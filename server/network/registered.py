"""Which node of the SuperLink has a key: `flwr supernode list` names neither keys nor hospitals."""

import base64

import httpx
from flwr.proto.control_pb2 import ListNodesRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from common.files import read_bytes
from common.network.node_key import key_header
from server.network.flower import FlowerFailed, link_address
from server.network.home import Home

GONE = "unregistered"


def node_with(home: Home, node_key: str) -> tuple[int, str]:
    """Identifier and status of the node that was registered with this key. Raises FlowerFailed if there is none."""
    client = ControlHttpClient.from_server_address(
        link_address(home),
        insecure=False,
        root_certificates=read_bytes(home.certificate("authority")),
        interceptors=(RuntimeVersionHttpInterceptor("consilium"),),
    )
    try:
        listed = client.ListNodes(ListNodesRequest()).nodes_info
    except (httpx.HTTPError, ValueError) as error:
        raise FlowerFailed(f"the SuperLink does not say which nodes it has: {type(error).__name__}.") from None
    finally:
        client.close()
    key = base64.b64decode(key_header(node_key))
    for node in listed:
        if node.public_key == key:
            return int(node.node_id), str(node.status)
    raise FlowerFailed("the SuperLink has registered this key for another account.")
