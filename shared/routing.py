"""A routing table says who signed it: the deployer, with a key that it uses for nothing else."""

import json

import msgspec

from shared.events import RoutingTable
from shared.signing import ROUTING, Signature, SignatureInvalid, Signer, Verifier


def sign_table(table: RoutingTable, signer: Signer) -> RoutingTable:
    """Return the table with a signature over everything else in it."""
    signature = signer.sign(ROUTING, _encode(table))
    return msgspec.structs.replace(table, signature=f"{signature.keyid}:{signature.sig}")


def check_table(table: RoutingTable, verifier: Verifier) -> None:
    """Check that a trusted key signed a table. Nothing is checked where no key is trusted.

    Raises:
        SignatureInvalid: it is not signed, by somebody else, or was changed since.
    """
    if not verifier:
        return
    keyid, _, signature = (table.signature or "").partition(":")
    if not signature:
        raise SignatureInvalid("the routing table bears no signature")
    verifier.verify(ROUTING, _encode(table), Signature(keyid, signature))


def _encode(table: RoutingTable) -> bytes:
    """Encode what is signed; what has its default is left out, so that a field of a later release may be added."""
    fields = msgspec.to_builtins(msgspec.structs.replace(table, signature=None))
    return json.dumps({name: value for name, value in fields.items() if value}, sort_keys=True).encode()
