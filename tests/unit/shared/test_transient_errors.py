"""Which errors of the database may pass: a batch that meets one is tried again, with any other it is put aside."""

import psycopg
import pytest
from sqlalchemy.exc import DataError, OperationalError

from shared.db import is_transient


@pytest.mark.parametrize(
    "error, may_pass",
    [
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), False),
        (DataError("INSERT", {}, psycopg.DataError("cannot contain NUL")), False),
        (psycopg.OperationalError("the connection is closed"), True),
        (OperationalError("SELECT 1", {}, psycopg.OperationalError("server closed the connection")), True),
        (psycopg.errors.DeadlockDetected("deadlock detected"), True),
        (psycopg.errors.UniqueViolation("duplicate key"), False),
        (ConnectionError("refused"), True),
        (ValueError("no number"), False),
    ],
    ids=[
        "a value",
        "a value, through SQLAlchemy",
        "closed",
        "closed, through SQLAlchemy",
        "deadlock",
        "twice",
        "no way",
        "ours",
    ],
)
def test_only_what_may_pass_is_transient(error: Exception, may_pass: bool):
    assert is_transient(error) is may_pass
