"""The database that commands work on."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from local.errors import StackFailed
from local.layout import find_home
from shared.acts import record_command
from shared.settings import Settings, load_settings


def find_database_url() -> str:
    """Return `HELIOTROPE_DATABASE_URL`, else its file in `HELIOTROPE_SECRETS_DIR`, else the local stack's.

    Raises:
        StackFailed: neither exists.
    """
    if configured := os.environ.get("HELIOTROPE_DATABASE_URL"):
        return configured
    if os.environ.get("HELIOTROPE_SECRETS_DIR"):
        return load_settings(Settings).database_url.get_secret_value()
    from local.stack.stack import Stack

    stack = Stack.find()
    if not stack.layout.secrets.exists():
        raise StackFailed(
            f"which database? HELIOTROPE_DATABASE_URL is not set, and no stack was ever started in {find_home()}"
        )
    return stack.connections.database_url


@contextmanager
def reach_database() -> Iterator[str]:
    """Yield what `find_database_url` finds; the local stack's Postgres is started for that long where nothing runs.

    Raises:
        StackFailed: as `find_database_url`, or Postgres does not start.
    """
    url = find_database_url()
    if os.environ.get("HELIOTROPE_DATABASE_URL") or os.environ.get("HELIOTROPE_SECRETS_DIR"):
        yield url
        return
    from local.stack.stack import Stack

    found = Stack.find()
    if found.is_running():
        yield url
        return
    alone = Stack(found.layout.home, found.layout.port_base, only=("postgres",))
    alone.up()
    try:
        yield url
    finally:
        alone.down()


def record_if_reached(action: str, subject: str, detail: dict[str, Any]) -> None:
    """Record what a command did; it is done, whether or not a database is within reach."""
    try:
        engine = create_engine(find_database_url(), connect_args={"connect_timeout": 5})
        try:
            with Session(engine) as session, session.begin():
                record_command(session, action, subject, detail)
        finally:
            engine.dispose()
    except (StackFailed, SQLAlchemyError) as error:
        sys.stderr.write(f"not in the audit log, since no database was reached: {type(error).__name__}\n")
