"""Sessions in Redis, sealed by what the browser alone holds: whoever reads Redis reads nothing, and can be nobody."""

import hashlib
import json
import secrets
from typing import Any, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis import Redis
from redis.exceptions import RedisError

from shared.errors import Unavailable

PREFIX = "heliotrope:console:session:"
NONCE_BYTES = 12
DEADLINE_SECONDS = 3.0


class SessionsAway(Unavailable):
    title = "Sessions cannot be reached"


class RedisSessions:
    """Sessions by the token in the browser's cookie: its hash is the name, and another one seals the content."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    def load(self, token: str) -> dict[str, Any] | None:
        """Return a session's content; None: there is none. Raises: SessionsAway."""
        sealed = self._ask("get", _name(token))
        if not isinstance(sealed, bytes):
            return None
        try:
            opened = AESGCM(_derive_key(token)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except InvalidTag:
            return None
        return cast(dict[str, Any], json.loads(opened))

    def save(self, token: str, content: dict[str, Any], seconds: float | None) -> None:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(_derive_key(token)).encrypt(nonce, json.dumps(content).encode(), None)
        if seconds is None:
            self._ask("set", _name(token), sealed, xx=True, keepttl=True)
        else:
            self._ask("set", _name(token), sealed, px=round(seconds * 1000))

    def delete(self, token: str) -> None:
        self._ask("delete", _name(token))

    def check(self) -> None:
        """Raise while Redis does not answer."""
        self._redis.ping()

    def close(self) -> None:
        self._redis.close()

    def _ask(self, command: str, *arguments: Any, **options: Any) -> object:
        try:
            return cast(object, getattr(self._redis, command)(*arguments, **options))
        except RedisError as error:
            raise SessionsAway("Redis, which keeps who is signed in, does not answer: try again in a moment") from error


def open_sessions(redis_url: str) -> RedisSessions:
    return RedisSessions(
        Redis.from_url(redis_url, socket_timeout=DEADLINE_SECONDS, socket_connect_timeout=DEADLINE_SECONDS)
    )


def _name(token: str) -> str:
    return PREFIX + hashlib.sha256(b"name:" + token.encode()).hexdigest()


def _derive_key(token: str) -> bytes:
    return hashlib.sha256(b"seal:" + token.encode()).digest()
