"""Migrations on a database that is not empty: each goes down and up again, and what its schema can hold stays."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import ARRAY, CheckConstraint, Column, Connection, Table, create_engine, inspect, text

from shared.tables import SCHEMAS, Base

ROOT = Path(__file__).parents[2]
KEY = UUID("00000000-0000-7000-8000-000000000001")
COPIED = {'deployer."feedback"'}
"""Tables that an upgrade fills from older ones, and a trigger from what the release before goes on writing there."""
VALUES: dict[type, Any] = {
    UUID: KEY,
    str: "x",
    int: 1,
    float: 0.25,
    bool: False,
    bytes: b"x",
    datetime: datetime(2026, 1, 1, tzinfo=UTC),
    dict: {"a": 1},
    object: {"a": 1},
    list: [1],
}


def list_revisions() -> list[str]:
    """Oldest first."""
    script = ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def choose_value(table: Table, column: Column[Any]) -> Any:
    """A value that the column and its checks take; that of the column that it refers to, if it does."""
    for key in column.foreign_keys:
        return choose_value(key.column.table, key.column)
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            allowed = re.search(rf"\b{column.name} IN \('(\w+)'", str(constraint.sqltext))
            if allowed is not None:
                return allowed[1]
    if isinstance(column.type, ARRAY):
        return [KEY if column.type.item_type.python_type is UUID else "x"]
    return VALUES[column.type.python_type]


def fill(connection: Connection) -> None:
    """One row in every table."""
    for table in Base.metadata.sorted_tables:
        columns = [column for column in table.columns if column.identity is None]
        connection.execute(table.insert().values({column.name: choose_value(table, column) for column in columns}))


def count_rows(connection: Connection) -> dict[str, int]:
    """Rows of every table that there is."""
    found = inspect(connection)
    names = [f'{schema}."{name}"' for schema in SCHEMAS for name in found.get_table_names(schema=schema)]
    return {name: connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in names}


@pytest.fixture
def move(database_url: str) -> Callable[[str, str], None]:
    """Moves the database `upgrade` or `downgrade` to a revision."""
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = database_url
    return lambda direction, revision: getattr(command, direction)(config, revision)


@pytest.mark.parametrize("revision", ["base", *list_revisions()[:-1]])
def test_a_filled_database_goes_down_and_up_again_and_keeps_what_the_older_schema_holds(
    revision: str, database_url: str, move: Callable[[str, str], None]
):
    engine = create_engine(database_url)
    with engine.begin() as connection:
        fill(connection)
        assert {name for name, rows in count_rows(connection).items() if rows != 1} <= COPIED
    move("downgrade", revision)
    with engine.begin() as connection:
        below = count_rows(connection)
    assert {name for name, rows in below.items() if rows > 1} <= COPIED
    assert bool(below) == (revision != "base")
    move("upgrade", "head")
    with engine.begin() as connection:
        after = count_rows(connection)
        assert {name: after[name] for name in below} == below
        assert {name for name, rows in after.items() if rows and name not in below} <= COPIED
        options = {"include_schemas": True, "include_name": lambda name, kind, _: kind != "schema" or name in SCHEMAS}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
    engine.dispose()
