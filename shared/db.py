"""Connections to Postgres."""

from collections.abc import Callable, Iterable

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from shared.settings import Settings

SessionFactory = Callable[[], Session]


def connect(settings: Settings, *, pool_size: int = 5) -> Engine:
    """An engine whose waits are bounded: 5 s to connect, 10 s for a connection, 30 s for a statement."""
    return create_engine(
        settings.database_url.get_secret_value(),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=30000 -c lock_timeout=15000"},
    )


def make_session_factory(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)


def check_database(engine: Engine) -> None:
    """Raise when Postgres does not answer."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def lock_all(session: Session, names: Iterable[str]) -> None:
    """Hold an advisory lock on each name until the transaction ends; taken in one order, so nobody deadlocks."""
    for name in sorted(set(names)):
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed later: a lost connection, a deadlock, a timeout, a full server."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, ConnectionError | TimeoutError)
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state[:2] in {"08", "40", "53", "57", "55"}
