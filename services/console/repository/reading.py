"""A database connection that cannot write, whatever the role behind it may."""

from sqlalchemy import Engine, create_engine

from shared.settings import Settings


def open_for_reading(settings: Settings, statement_seconds: float) -> Engine:
    """Return an engine whose transactions are read-only, and whose statements end after `statement_seconds`."""
    options = f"-c default_transaction_read_only=on -c statement_timeout={round(statement_seconds * 1000)}"
    return create_engine(
        settings.database_url.get_secret_value(),
        pool_size=5,
        max_overflow=5,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": options},
    )
