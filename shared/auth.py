"""API keys: a name, a role and a secret that is stored hashed only.

A key reads `hk_<12 hex digits: its id>_<43 characters: 256 random bits>`. The secret is random, not a password, so one
SHA-256 is enough; ids are looked up, secrets compared in constant time.
"""

import hmac
import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from fastapi import Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.accounts import SIGN_IN_PATTERN, StoredAccount, load_accounts
from shared.assertions import PREFIX, read_assertion
from shared.db import SessionFactory
from shared.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from shared.secret_hashes import calculate_secret_hash
from shared.signing import Verifier
from shared.tables.access import ROLES, ApiKey
from shared.user_hash_generations import UserHashesInForce

logger = structlog.get_logger(__name__)

KEY_PATTERN = re.compile(r"hk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a key, or a person whom the deployer asserts."""

    key_id: str
    """Of the key, or of the account."""
    name: str
    role: str
    is_person: bool = False


@dataclass(frozen=True)
class StoredKey:
    """A key as the table has it. After a rotation the previous secret opens too, for a while."""

    caller: Caller
    secret_hash: bytes
    expires_at: datetime | None = None
    previous_secret_hash: bytes | None = None
    previous_expires_at: datetime | None = None

    def opens_with(self, secret_hash: bytes, now: datetime) -> bool:
        if self.expires_at is not None and self.expires_at <= now:
            return False
        if hmac.compare_digest(secret_hash, self.secret_hash):
            return True
        is_previous = hmac.compare_digest(secret_hash, self.previous_secret_hash or bytes(32))
        return is_previous and self.previous_expires_at is not None and now < self.previous_expires_at


def draw_key() -> str:
    """Draw a key that is stored nowhere yet."""
    return f"hk_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"


def create_key(session: Session, name: str, role: str, expires_at: datetime | None = None) -> str:
    """Store a new key and return it; this is the only time that anyone sees it.

    Raises:
        InvalidRequest: no such role.
    """
    return store_key(session, draw_key(), name, role, expires_at)


def store_key(session: Session, key: str, name: str, role: str, expires_at: datetime | None = None) -> str:
    """Store a key that was drawn before, by its hash, and return it.

    Raises:
        InvalidRequest: no such role, or not in the form of a key.
    """
    if role not in ROLES:
        raise InvalidRequest(f"role must be one of {', '.join(ROLES)}, not {role!r}")
    if (match := KEY_PATTERN.fullmatch(key)) is None:
        raise InvalidRequest("a key reads hk_<12 hex digits>_<43 letters, digits, - or _>")
    secret_hash = calculate_secret_hash(match[2])
    session.add(ApiKey(key_id=match[1], name=name, role=role, secret_hash=secret_hash, expires_at=expires_at))
    return key


def rotate_key(session: Session, key_id: str, grace: timedelta, now: datetime) -> str:
    """Give a key a new secret and return it, this once; the old secret opens for `grace` longer.

    The id stays, because events count under it: a retry with the new secret is still the same event.

    Raises:
        NotFound: no such key.
        InvalidRequest: it is revoked.
    """
    key = _find_key(session, key_id)
    if key.revoked_at is not None:
        raise InvalidRequest(f"the key {key_id!r} is revoked; create another")
    secret = secrets.token_urlsafe(32)
    key.previous_secret_hash, key.previous_expires_at = key.secret_hash, now + grace
    key.secret_hash = calculate_secret_hash(secret)
    return f"hk_{key_id}_{secret}"


def revoke_key(session: Session, key_id: str) -> None:
    """Make a key useless; running processes notice at their next refresh.

    Raises:
        NotFound: no such key.
    """
    key = _find_key(session, key_id)
    key.revoked_at = key.revoked_at or datetime.now(UTC)


def _find_key(session: Session, key_id: str) -> ApiKey:
    key = session.get(ApiKey, key_id)
    if key is None:
        raise NotFound(f"no key with id {key_id!r}")
    return key


def load_keys(sessions: SessionFactory) -> dict[str, StoredKey]:
    """Return every key that is not revoked, by id."""
    with sessions() as session:
        rows = session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))).all()
    return {
        row.key_id: StoredKey(
            Caller(row.key_id, row.name, row.role),
            row.secret_hash,
            row.expires_at,
            row.previous_secret_hash,
            row.previous_expires_at,
        )
        for row in rows
    }


def _now() -> datetime:
    return datetime.now(UTC)


class KeyRing:
    """The keys in memory, refreshed in the background; the last known ones while Postgres is away."""

    def __init__(
        self,
        load: Callable[[], Mapping[str, StoredKey]],
        *,
        refresh_seconds: float = 2.0,
        now: Callable[[], datetime] = _now,
        load_accounts: Callable[[], Mapping[str, StoredAccount]] = dict,
        assertion_keys: Sequence[str] = (),
    ) -> None:
        """Prepare to load keys and accounts.

        `assertion_keys` are the deployer's public ones; without any nobody signs in.
        """
        self._load_accounts, self._verifier = load_accounts, Verifier(assertion_keys)
        self._accounts: Mapping[str, StoredAccount] = {}
        self._load = load
        self._now = now
        self._refresh_seconds = refresh_seconds
        self._keys: Mapping[str, StoredKey] = {}
        # headers that were found good since the last refresh: hashing takes longer than all else about a caller
        self._recognised: dict[str, Caller] = {}
        self._loaded = False

    def refresh(self) -> None:
        self._keys, self._accounts = self._load(), self._load_accounts()
        self._recognised = {}
        self._loaded = True

    def check(self) -> None:
        """Raise while the keys have never been loaded: nobody could be let in."""
        if not self._loaded:
            raise ConnectionError("the API keys have not been loaded yet")

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self._refresh_seconds):
            try:
                self.refresh()
            except Exception as error:
                logger.warning("key_refresh_failed", error=repr(error))
                self._recognised = {}  # a key may have expired meanwhile

    def authenticate(self, authorization: str | None) -> Caller:
        """Return the caller behind an `Authorization` header: a key, or an assertion about a person.

        Raises:
            Unauthenticated: no bearer key, or not one of ours.
        """
        if authorization and (token := _read_bearer(authorization)).startswith(PREFIX):
            return self._find_person(token)
        recognised = self._recognised
        if authorization and (caller := recognised.get(authorization)):
            return caller
        stored = self._find(authorization)
        if authorization and len(recognised) < len(self._keys):
            recognised[authorization] = stored.caller
        return stored.caller

    def _find_person(self, token: str) -> Caller:
        """Of an account that still stands, and has the role that was asserted."""
        assertion = read_assertion(token, self._verifier, self._now())
        account = self._accounts.get(assertion.account_id)
        if account is None or account.role != assertion.role:
            raise Unauthenticated("the account is unknown, disabled, or has another role now")
        return Caller(account.account_id, account.name, account.role, is_person=True)

    def sign_in(self, authorization: str | None) -> StoredAccount:
        """Return the account behind a sign-in key. Raises: Unauthenticated."""
        match = SIGN_IN_PATTERN.fullmatch(_read_bearer(authorization or ""))
        account = self._accounts.get(match[1]) if match else None
        if match is None or account is None:
            raise Unauthenticated("unknown or disabled account")
        if not hmac.compare_digest(account.secret_hash, calculate_secret_hash(match[2])):
            raise Unauthenticated("unknown or disabled account")
        return account

    def _find(self, authorization: str | None) -> StoredKey:
        scheme, _, key = (authorization or "").partition(" ")
        match = KEY_PATTERN.fullmatch(key.strip()) if scheme.lower() == "bearer" else None
        if match is None:
            raise Unauthenticated("send your API key as 'Authorization: Bearer hk_...'")
        stored = self._keys.get(match[1])
        if stored is None or not stored.opens_with(calculate_secret_hash(match[2]), self._now()):
            raise Unauthenticated("unknown, expired or revoked API key")
        return stored

    def check_valid(self, key_id: str) -> None:
        """Check that a key is known, not revoked and not expired. Raises: Unauthenticated."""
        stored = self._keys.get(key_id)
        if stored is None or (stored.expires_at is not None and stored.expires_at <= self._now()):
            raise Unauthenticated("the API key behind this token is unknown, expired or revoked")

    def authorize(self, authorization: str | None, roles: tuple[str, ...]) -> Caller:
        """Return the caller, if its role is one of these. Raises: Unauthenticated, Forbidden."""
        caller = self.authenticate(authorization)
        if caller.role not in roles:
            raise Forbidden(f"this needs the role {' or '.join(roles)}; this key has the role {caller.role}")
        return caller


def _read_bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def open_key_ring(
    sessions: SessionFactory, assertion_keys: Sequence[str] = (), user_hashes: UserHashesInForce | None = None
) -> KeyRing:
    """Return the keys and accounts in Postgres, loaded; while it is away, a ring that has yet to load them.

    See `KeyRing.check`. `assertion_keys` are the deployer's public ones; `user_hashes` are refreshed with the keys.
    """

    def load() -> dict[str, StoredKey]:
        if user_hashes is not None:
            user_hashes.refresh()
        return load_keys(sessions)

    keys = KeyRing(load, load_accounts=partial(load_accounts, sessions), assertion_keys=assertion_keys)
    try:
        keys.refresh()
    except Exception as error:
        logger.warning("keys_not_loaded_yet", error=repr(error))
    return keys


def require(*roles: str) -> Callable[[Request], Caller]:
    """Make a FastAPI dependency: the caller, if its role is one of these. `app.state.keys` holds the `KeyRing`."""

    def authorize(request: Request) -> Caller:
        keys: KeyRing = request.app.state.keys
        return keys.authorize(request.headers.get("authorization"), roles)

    return authorize
