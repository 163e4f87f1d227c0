"""Which secrets the database's users are hashed with: a process that has others stores nothing."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import SessionFactory
from shared.settings import Settings
from shared.tables.access import UserHashGeneration
from shared.user_hashes import SecretsDiffer, UserHashes

FINGERPRINT = b"heliotrope: fingerprint of a user-hash secret"


def calculate_fingerprint(secret: str) -> str:
    """Return 16 hex digits that tell secrets apart and give nothing away of them."""
    return hmac.new(secret.encode(), FINGERPRINT, hashlib.sha256).hexdigest()[:16]


def check_fingerprints(configured: UserHashes, known: Mapping[int, tuple[str, bool]]) -> int:
    """Return the generation that starts the chain; `known` holds (fingerprint, whether it starts anew) by generation.

    Raises: SecretsDiffer: a secret is missing, or another than the database knows.
    """
    secrets, newest = (configured.first, *configured.later), max(known, default=0)
    if newest >= len(secrets):
        raise SecretsDiffer(
            f"the database is hashed with {newest} later secrets, HELIOTROPE_USER_HASH_LATER_SECRETS has "
            f"{len(configured.later)}"
        )
    start = max((number for number, (_, anew) in known.items() if anew), default=0)
    for number, (fingerprint, _) in known.items():
        if number >= start and secrets[number] and calculate_fingerprint(secrets[number]) != fingerprint:
            which = f"HELIOTROPE_USER_HASH_LATER_SECRETS, number {number}" if number else "HELIOTROPE_USER_HASH_SECRET"
            raise SecretsDiffer(f"{which} is not the secret that the database is hashed with")
    return start


def load_user_hashes(configured: UserHashes, session: Session) -> UserHashes:
    """Load the generation in force. Raises: SecretsDiffer."""
    rows = session.scalars(select(UserHashGeneration)).all()
    start = check_fingerprints(configured, {row.generation: (row.fingerprint, row.starts_anew) for row in rows})
    return replace(configured, generation=max((row.generation for row in rows), default=0), start=start)


def configure_user_hashes(settings: Settings) -> UserHashes:
    """Return the secrets of the settings, at no generation yet."""
    later = tuple(secret.get_secret_value() for secret in settings.user_hash_later_secrets)
    return UserHashes(settings.user_hash_secret.get_secret_value(), later)


class UserHashesInForce:
    """The generation in force, refreshed beside the API keys; the last known one while Postgres is away."""

    def __init__(self, configured: UserHashes, sessions: SessionFactory) -> None:
        self._configured, self._sessions = configured, sessions
        self._found: UserHashes | SecretsDiffer = configured

    def refresh(self) -> None:
        with self._sessions() as session:
            try:
                self._found = load_user_hashes(self._configured, session)
            except SecretsDiffer as error:
                self._found = error

    def __call__(self) -> UserHashes:
        """Raises: SecretsDiffer: nobody may be hashed, or they would be cut off from their past."""
        if isinstance(self._found, SecretsDiffer):
            raise SecretsDiffer(self._found.detail)
        return self._found

    def check(self) -> None:
        """Raise while the secrets are not the database's."""
        self()


LoadUserHashes = Callable[[Session], UserHashes]


def load_without_secrets(session: Session) -> UserHashes:
    """Load the generation in force where there never was a later secret. Raises: SecretsDiffer: there was one."""
    return load_user_hashes(UserHashes(""), session)
