"""Identifiers: time-ordered UUIDs of ours, and the keyed hash that stands for a user."""

import hashlib
import hmac
from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562, section 5.7): sorts by creation time."""
    return uuid_utils.compat.uuid7()


def calculate_user_hash(user: str | None, conversation_id: str | None, secret: str) -> str | None:
    """HMAC-SHA-256 (32 hex digits) of the user, else of the conversation; None for an anonymous caller.

    The two are hashed under different labels, so that a conversation never collides with a user of the same name.
    """
    if user:
        subject = f"user:{user}"
    elif conversation_id:
        subject = f"conversation:{conversation_id}"
    else:
        return None
    return hmac.new(secret.encode(), subject.encode(), hashlib.sha256).hexdigest()[:32]
