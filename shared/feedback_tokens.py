"""Signed feedback tokens: a browser that was served an answer may speak of it, without an API key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from itsdangerous import BadSignature, Serializer, URLSafeSerializer
from itsdangerous.encoding import base64_encode

from shared.errors import Unauthenticated

SALT = "heliotrope.feedback-token.v1"


@dataclass(frozen=True)
class FeedbackToken:
    """What its bearer may do until it expires: events of this user on these interactions."""

    interaction_ids: tuple[UUID, ...]
    user: str | None
    """Keyed hash, as in the events; None for an anonymous caller."""
    key_id: str
    """The API key that the answer was asked for with: its events count under the same key."""
    expires_at: datetime


class _Serializer(URLSafeSerializer):
    """Without the attempt to compress, which takes longer than all the rest and gains nothing on so few bytes."""

    def dump_payload(self, obj: Any) -> bytes:
        return base64_encode(Serializer.dump_payload(self, obj))


class FeedbackTokens:
    """Signs and opens tokens: HMAC-SHA-256 over their content, which is readable but not secret.

    Signs with `secret`; what was signed with one of the previous ones opens too, so that secrets can be rotated.
    """

    def __init__(self, secret: str, previous_secrets: Sequence[str] = ()) -> None:
        self._serializer = _Serializer(
            [*previous_secrets, secret], salt=SALT, signer_kwargs={"key_derivation": "hmac", "digest_method": "sha256"}
        )

    def sign(self, token: FeedbackToken) -> str:
        content = {
            "i": [interaction_id.hex for interaction_id in token.interaction_ids],
            "u": token.user,
            "k": token.key_id,
            "e": int(token.expires_at.timestamp()),
        }
        signed = self._serializer.dumps(content)
        return signed if isinstance(signed, str) else signed.decode()

    def open(self, text: str, now: datetime) -> FeedbackToken:
        """Return the token behind its text.

        Raises:
            Unauthenticated: not signed by us, or expired.
        """
        try:
            content = self._serializer.loads(text)
        except (BadSignature, UnicodeError):
            raise Unauthenticated("this feedback token was not issued here") from None
        token = FeedbackToken(
            tuple(UUID(hex=interaction_id) for interaction_id in content["i"]),
            content["u"],
            content["k"],
            datetime.fromtimestamp(content["e"], UTC),
        )
        if token.expires_at <= now:
            raise Unauthenticated("this feedback token has expired")
        return token
