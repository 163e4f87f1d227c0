"""People: an account has a name, a role, and a sign-in key that only the deployer takes, for an assertion of a minute.

A sign-in key reads `ha_<12 hex digits: the account's id>_<43 characters: 256 random bits>` and is stored hashed.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import SessionFactory
from shared.errors import Conflict, InvalidRequest, NotFound
from shared.secret_hashes import calculate_secret_hash
from shared.tables.access import ACCOUNT_ROLES, Account

SIGN_IN_PATTERN = re.compile(r"ha_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class StoredAccount:
    """An account that is not disabled."""

    account_id: str
    name: str
    role: str
    secret_hash: bytes


def create_account(session: Session, name: str, role: str) -> str:
    """Store a new account and return its sign-in key; this is the only time that anyone sees it.

    Raises:
        InvalidRequest: no such role, or no name.
        Conflict: somebody has that name.
    """
    if role not in ACCOUNT_ROLES:
        raise InvalidRequest(f"role must be one of {', '.join(ACCOUNT_ROLES)}, not {role!r}")
    if not name.strip():
        raise InvalidRequest("name must not be empty")
    if session.scalar(select(Account.account_id).where(Account.name == name)) is not None:
        raise Conflict(f"there is an account named {name!r}")
    account_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    session.add(Account(account_id=account_id, name=name, role=role, secret_hash=calculate_secret_hash(secret)))
    return f"ha_{account_id}_{secret}"


def rotate_account(session: Session, account_id: str) -> str:
    """Give an account a new sign-in key and return it, this once; the old one opens nothing any more.

    Raises:
        NotFound: no such account.
    """
    secret = secrets.token_urlsafe(32)
    _find(session, account_id).secret_hash = calculate_secret_hash(secret)
    return f"ha_{account_id}_{secret}"


def change_role(session: Session, account_id: str, role: str) -> None:
    """Give an account another role; assertions about the old one open nothing within seconds.

    Raises:
        InvalidRequest: no such role.
        NotFound: no such account.
    """
    if role not in ACCOUNT_ROLES:
        raise InvalidRequest(f"role must be one of {', '.join(ACCOUNT_ROLES)}, not {role!r}")
    _find(session, account_id).role = role


def disable_account(session: Session, account_id: str) -> None:
    """Let an account in nowhere any more; running services notice within seconds. Raises: NotFound."""
    account = _find(session, account_id)
    account.disabled_at = account.disabled_at or datetime.now(UTC)


def load_accounts(sessions: SessionFactory) -> dict[str, StoredAccount]:
    """Return every account that is not disabled, by id."""
    with sessions() as session:
        rows = session.scalars(select(Account).where(Account.disabled_at.is_(None))).all()
    return {row.account_id: StoredAccount(row.account_id, row.name, row.role, row.secret_hash) for row in rows}


def _find(session: Session, account_id: str) -> Account:
    account = session.get(Account, account_id)
    if account is None:
        raise NotFound(f"no account with id {account_id!r}")
    return account
