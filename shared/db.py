"""Connections to Postgres."""

from collections.abc import Callable, Iterable

import psycopg
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from shared.settings import Settings

TRANSIENT = frozenset({"08", "40", "53", "55", "57"})
"""Classes of SQLSTATE: connection, rollback (deadlock), resources, object not in state (locks), operator's doing."""

SessionFactory = Callable[[], Session]


def connect(settings: Settings, *, pool_size: int = 5, idle_seconds: float = 0) -> Engine:
    """Return an engine whose waits are bounded: 5 s to connect, 10 s for a connection, 30 s for a statement.

    With `idle_seconds`, Postgres ends a transaction in which nothing was asked for so long: a stopped process would
    keep what it locked for ever.
    """
    idle_ms = round(idle_seconds * 1000)
    options = f"-c statement_timeout=30000 -c lock_timeout=15000 -c idle_in_transaction_session_timeout={idle_ms}"
    return create_engine(
        settings.database_url.get_secret_value(),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": options},
    )


def make_session_factory(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)


def check_database(engine: Engine) -> None:
    """Raise when Postgres does not answer."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


LOCK_ALL = text(
    """
    SELECT count(pg_advisory_xact_lock(key)) FROM (
        SELECT DISTINCT hashtextextended(name, 0) AS key FROM unnest(CAST(:names AS text[])) AS name ORDER BY key
    ) AS ordered
    """
)


def lock_all(session: Session, names: Iterable[str]) -> None:
    """Hold an advisory lock on each name until the transaction ends; taken in one order, so nobody deadlocks.

    One statement, however many names; Postgres has room for `max_locks_per_transaction` times `max_connections`.
    """
    if wanted := list(set(names)):
        session.execute(LOCK_ALL, {"names": wanted})


def hold_shared(session: Session, name: str) -> None:
    """Hold a shared advisory lock until the transaction ends: `wait_for_holders` waits for it."""
    session.execute(text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 1))"), {"name": name})


def exclude_holders(session: Session, name: str) -> None:
    """Hold the advisory lock alone until the transaction ends: who wants it shared waits meanwhile."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 1))"), {"name": name})


def wait_for_holders(session: Session, name: str) -> None:
    """Return once every transaction that held the shared lock before is over; what they wrote can be seen then."""
    parameters = {"name": name}
    session.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 1))"), parameters)
    session.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 1))"), parameters)


class ConcurrentChange(ConnectionError):
    """Another transaction wrote the same rows meanwhile: the same work succeeds when it is done again."""


def find_sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of the database."""
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same transaction may succeed later: a lost connection, a deadlock, a timeout, a full server.

    An error without a SQLSTATE is the driver's own: of the connection, which may come back, or of a value, which stays.
    """
    if not isinstance(error, DBAPIError | psycopg.Error):
        return isinstance(error, ConnectionError | TimeoutError)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = find_sqlstate(error)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] in TRANSIENT


def is_full(error: BaseException) -> bool:
    """Return whether the server has no room for so many locks: half as many may fit."""
    return find_sqlstate(error) == "53200"
