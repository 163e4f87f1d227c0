"""Routing tables where a gateway finds them without a deployer."""

import msgspec

from local.stack.stack import Stack
from shared.events import RoutingTable
from shared.routing import sign_table
from shared.signing import Signer


def write_routing(stack: Stack, table: RoutingTable) -> None:
    """Leave a table where the gateway kept its last one, as the stack's deployer would have signed it."""
    signed = sign_table(table, Signer(stack.secrets.deployer_routing_key))
    folder = stack.layout.home / "gateway"
    folder.mkdir(parents=True)
    (folder / "routing.json").write_bytes(msgspec.json.encode(signed))
