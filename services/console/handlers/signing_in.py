"""Sessions: a new secret for each sign-in, an account that is asked after again and again, an end."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_address
from typing import Any

import structlog

from services.console.domain.people import Person, SignedIn
from services.console.ports import Asserter, SessionStore
from shared.accounts import SIGN_IN_PATTERN
from shared.auth import KEY_PATTERN
from shared.errors import Unauthenticated, Unavailable
from shared.rate_limits import RateLimiter

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Turnstile:
    """Slows down whoever tries key after key at one address, and nobody else there who has come in by theirs before.

    Keys are 256 random bits: this only spares the deployer.
    """

    limiter: RateLimiter
    known: set[bytes] = field(default_factory=set)

    @contextmanager
    def passing(self, address: str, key: str) -> Iterator[None]:
        """Charge a wrong key to its address, and not one that nobody could look at. Raises: RateLimited."""
        digest, subject = hashlib.sha256(key.encode()).digest(), derive_subject(address)
        if is_charged := digest not in self.known:
            self.limiter.take(subject, 1)
        try:
            yield
            self.known.add(digest)
        except Unauthenticated:
            self.known.discard(digest)
            is_charged = False  # for good
            raise
        finally:
            if is_charged:
                self.limiter.give_back(subject, 1)


def derive_subject(address: str) -> str:
    """Return who is limited together: an address, of IPv6 the network that one household has."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    return str(IPv6Network((found, 64), strict=False)) if found.version == 6 else str(found)


@dataclass(frozen=True)
class SignIns:
    """Lets people in. `clock` gives Unix time in seconds."""

    sessions: SessionStore
    asserter: Asserter
    turnstile: Turnstile
    clock: Callable[[], float]
    session_seconds: float
    recheck_seconds: float
    grace_seconds: float

    def sign_in(self, key: str, address: str, old_token: str | None = None) -> tuple[str, SignedIn]:
        """Begin a session under a new token, and end the one before: a token that was planted opens nothing.

        Raises:
            RateLimited: too many keys of this address were wrong.
            Unauthenticated: it is no sign-in key, or its account does not stand.
            Unavailable: the deployer, or Redis, does not answer.
        """
        sent = _check_form(key)
        with self.turnstile.passing(address, sent):
            assertion = self.asserter.assert_person(sent)
        if old_token:
            self.sessions.delete(old_token)
        token = secrets.token_urlsafe(32)
        self.sessions.save(token, _write(sent, assertion.person, assertion.token, self.clock()), self.session_seconds)
        logger.info("signed_in", account_id=assertion.person.account_id, role=assertion.person.role)
        return token, SignedIn(assertion.person, assertion.token, derive_csrf(token))

    def resume(self, token: str | None) -> SignedIn | None:
        """Return who holds this token; None: nobody, or no longer. Raises: Unavailable."""
        content = self.sessions.load(token) if token else None
        if not token or content is None:
            return None
        age = self.clock() - content["asserted_at"]
        if age < self.recheck_seconds:
            return _read(content, token)
        try:
            assertion = self.asserter.assert_person(content["key"])
        except Unauthenticated:
            self.sessions.delete(token)
            return None
        except Unavailable:
            if age > self.grace_seconds:
                raise
            return _read(content, token, is_certain=False)
        renewed = _write(content["key"], assertion.person, assertion.token, self.clock())
        self.sessions.save(token, renewed, None)
        return _read(renewed, token)

    def sign_out(self, token: str | None) -> None:
        if token:
            self.sessions.delete(token)


def derive_csrf(token: str) -> str:
    """Return what forms of a session carry: nobody who cannot read its pages knows it."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def _check_form(key: str) -> str:
    found = key.strip()
    if KEY_PATTERN.fullmatch(found):
        raise Unauthenticated(
            "this is the API key of a program; people sign in with the key of their account, which begins with ha_: "
            "heliotrope accounts create NAME --role admin makes one"
        )
    if not SIGN_IN_PATTERN.fullmatch(found):
        raise Unauthenticated("a sign-in key begins with ha_ and has 59 characters; copy all of it")
    return found


def _write(key: str, person: Person, token: str, now: float) -> dict[str, Any]:
    who = {"account_id": person.account_id, "name": person.name, "role": person.role}
    return {"key": key, "person": who, "assertion": token, "asserted_at": now}


def _read(content: dict[str, Any], token: str, *, is_certain: bool = True) -> SignedIn:
    return SignedIn(Person(**content["person"]), content["assertion"], derive_csrf(token), is_certain)
