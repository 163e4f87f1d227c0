"""Alembic: one history for all schemas; the database comes from `HELIOTROPE_DATABASE_URL`.

Migrations run under traffic. One that waits for a lock keeps everybody behind it waiting too, so it gives up after a
second, lets them pass, and is tried again; what a migration has committed before is left as it is by the next try.
"""

import time

from alembic import context
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from shared.settings import Settings, load_settings
from shared.tables import SCHEMAS, Base

LOCK_NOT_AVAILABLE = "55P03"
PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 900.0
"""For transactions that are older than the migration."""


def include_name(name: str | None, type_: str, parent_names: object) -> bool:
    return type_ != "schema" or name in SCHEMAS


def limit_waiting(connection: Connection) -> None:
    """Bound the waiting for locks in a transaction; outside of one (`CONCURRENTLY`) it stands in nobody's way."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")


def run_once(engine: Engine) -> None:
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_schemas=True,
            include_name=include_name,
            compare_type=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


def run() -> None:
    url = context.config.attributes.get("url") or load_settings(Settings).database_url.get_secret_value()
    engine = create_engine(url, connect_args={"connect_timeout": 5})
    event.listen(engine, "begin", limit_waiting)
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            run_once(engine)
            break
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE or time.monotonic() > give_up_at:
                raise
        time.sleep(PAUSE_SECONDS)
    engine.dispose()


run()
