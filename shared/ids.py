"""Identifiers: time-ordered UUIDs of ours, and the keyed hash that stands for a user or a conversation."""

import hashlib
from functools import lru_cache
from uuid import UUID

import uuid_utils.compat

_BLOCK_BYTES = 64


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562, section 5.7): sorts by creation time."""
    return uuid_utils.compat.uuid7()


def calculate_user_hash(user: str | None, conversation_id: str | None, secret: str) -> str | None:
    """Return the HMAC-SHA-256 (32 hex digits) of the user, else of the conversation; None for an anonymous caller.

    The two are hashed under different labels, so that a conversation never collides with a user of the same name.
    """
    if user:
        subject = f"user:{user}"
    elif conversation_id:
        subject = f"conversation:{conversation_id}"
    else:
        return None
    outer, inner = derive_pads(secret)
    return hashlib.sha256(outer + hashlib.sha256(inner + subject.encode()).digest()).hexdigest()[:32]


def calculate_conversation_hash(conversation_id: str | None, secret: str) -> str | None:
    """Return the HMAC-SHA-256 (32 hex digits) of a conversation's id: what stands for a caller without a user, too."""
    return calculate_user_hash(None, conversation_id, secret)


@lru_cache(16)
def derive_pads(secret: str) -> tuple[bytes, bytes]:
    """Derive RFC 2104's padded keys; with them two hashes are an HMAC, twice as fast as `hmac` computes it."""
    key = secret.encode()
    key = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return bytes(byte ^ 0x5C for byte in key), bytes(byte ^ 0x36 for byte in key)
