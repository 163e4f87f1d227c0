"""Secrets of a stack (`secrets.json`) and one API key per role (`credentials.json`); only their owner can read them."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, make_url, select

from shared.accounts import SIGN_IN_PATTERN, StoredAccount, create_account, load_accounts
from shared.auth import KEY_PATTERN, KeyRing, create_key, draw_key, load_keys, store_key
from shared.db import make_session_factory
from shared.errors import Unauthenticated
from shared.secret_hashes import calculate_secret_hash
from shared.signing import generate_key
from shared.tables.access import ACCOUNT_ROLES, ROLES, Account, ApiKey
from shared.user_hashes import UserHashes

KEPT = ("_later_secrets", "_previous_secrets", "_public_keys")
"""How names of what a rotation keeps end."""


@dataclass(frozen=True)
class Secrets:
    postgres_password: str
    valkey_password: str
    supervisor_password: str
    user_hash_secret: str
    feedback_token_secret: str
    audit_key: str
    internal_key: str
    """The gateway's API key: made here, so that it is known before the database is."""
    trainer_manifest_key: str = ""
    deployer_manifest_key: str = ""
    deployer_routing_key: str = ""
    deployer_assertion_key: str = ""
    user_hash_later_secrets: str = ""
    """Comma separated, like the next ones: what a rotation keeps beside the secret in use."""
    feedback_token_previous_secrets: str = ""
    manifest_public_keys: str = ""
    gateway_routing_public_keys: str = ""
    assertion_public_keys: str = ""
    backup_public_keys: str = ""

    @property
    def user_hashes(self) -> UserHashes:
        later = [secret for secret in self.user_hash_later_secrets.split(",") if secret]
        return UserHashes(self.user_hash_secret, tuple(later))

    def database_url(self, port: int, database: str) -> str:
        url = make_url(f"postgresql+psycopg://heliotrope@127.0.0.1:{port}/{database}")
        return url.set(password=self.postgres_password).render_as_string(hide_password=False)

    def role_password(self, role: str) -> str:
        """Derive a database role's password; all live and die with the server's own."""
        return hmac.new(self.postgres_password.encode(), role.encode(), hashlib.sha256).hexdigest()

    def redis_url(self, port: int) -> str:
        return f"redis://:{self.valkey_password}@127.0.0.1:{port}/0"


def load_secrets(path: Path) -> Secrets:
    """Return the secrets of this home; made on first use, kept from then on."""
    names = list(Secrets.__dataclass_fields__)
    known = json.loads(path.read_text()) if path.exists() else {}
    if missing := [name for name in names if name not in known]:
        known |= {name: _draw(name) for name in missing}
        write_private(path, {name: known[name] for name in names})
    return Secrets(**{name: known[name] for name in names})


def _draw(name: str) -> str:
    if name.endswith(KEPT):
        return ""
    if name == "internal_key":
        return draw_key()
    return (
        generate_key()
        if name.endswith(("_manifest_key", "_routing_key", "_assertion_key"))
        else secrets.token_urlsafe(24)
    )


def write_private(path: Path, content: object) -> None:
    """Replace a JSON file atomically; it is readable by its owner only from its first byte on."""
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    draft.replace(path)


def ensure_keys(database_url: str, path: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return one working API key per role: those of `path` that the database still knows, and new ones for the rest.

    `given` are keys, by role, that some process was told already: they are stored if they are not.
    """
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    known = {**kept, **given}
    engine = create_engine(database_url)
    sessions = make_session_factory(engine)
    ring = KeyRing(lambda: load_keys(sessions))
    ring.refresh()
    keys = {role: key for role, key in known.items() if role in ROLES and _opens(ring, role, key)}
    with sessions() as session, session.begin():
        for role in (role for role in ROLES if role not in keys):
            name = f"local {role}"
            keys[role] = (
                store_key(session, given[role], name, role) if role in given else create_key(session, name, role)
            )
    engine.dispose()
    if keys != kept:
        write_private(path, keys)
    return keys


def store_given_keys(database_url: str, given: Mapping[str, str]) -> None:
    """Store API keys, by role, that somebody drew before; a key that was stored stays as it is, revoked or not.

    Raises:
        InvalidRequest: no such role, or not in the form of a key.
    """
    engine = create_engine(database_url)
    try:
        with make_session_factory(engine)() as session, session.begin():
            known = set(session.scalars(select(ApiKey.key_id)))
            for role, key in given.items():
                match = KEY_PATTERN.fullmatch(key)
                if match is None or match[1] not in known:
                    store_key(session, key, f"given {role}", role)
    finally:
        engine.dispose()


def ensure_accounts(database_url: str, path: Path) -> dict[str, str]:
    """Return the sign-in key of one account per role, for the console: those of `path`, and new ones for the rest."""
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    engine = create_engine(database_url)
    sessions = make_session_factory(engine)
    known = load_accounts(sessions)
    accounts = {role: key for role, key in kept.items() if _is_known(key, role, known)}
    with sessions() as session, session.begin():
        taken = set(session.scalars(select(Account.name)))
        for role in (role for role in ACCOUNT_ROLES if role not in accounts):
            name = next(name for name in _list_names(role) if name not in taken)
            accounts[role] = create_account(session, name, role)
    engine.dispose()
    if accounts != kept:
        write_private(path, accounts)
    return accounts


def _list_names(role: str) -> Iterator[str]:
    """Names for a role's account, until one is free: an account that was disabled keeps its own."""
    yield f"local {role}"
    yield from (f"local {role} {number}" for number in count(2))


def _is_known(key: str, role: str, known: Mapping[str, StoredAccount]) -> bool:
    match = SIGN_IN_PATTERN.fullmatch(key)
    account = known.get(match[1]) if match else None
    if match is None or account is None or account.role != role:
        return False
    return hmac.compare_digest(account.secret_hash, calculate_secret_hash(match[2]))


def name_rater(number: int) -> str:
    """Name the credential of one of several raters."""
    return f"rater {number}"


def make_rater_keys(database_url: str, count: int) -> dict[str, str]:
    """Make a key for each of `count` raters, by credential: one key is one rater."""
    engine = create_engine(database_url)
    with make_session_factory(engine)() as session, session.begin():
        keys = {
            name_rater(number): create_key(session, f"local {name_rater(number)}", "rater") for number in range(count)
        }
    engine.dispose()
    return keys


def _opens(ring: KeyRing, role: str, key: str) -> bool:
    try:
        return ring.authenticate(f"Bearer {key}").role == role
    except Unauthenticated:
        return False
