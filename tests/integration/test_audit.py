"""The audit log in a real Postgres: it only grows, and `heliotrope audit verify` sees what was done to it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from cli.main import app
from services.deployer.repository.audit import append_audit, load_audit_end, load_audit_page

KEY = "a key that the database's owner does not have"
CHANGES = ("UPDATE deployer.audit SET actor = 'mallory'", "DELETE FROM deployer.audit", "TRUNCATE deployer.audit")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    with Session(engine) as session, session.begin():
        for number in range(5):
            write(session, f"rollout {number}")
    yield engine
    engine.dispose()


def write(session: Session, subject: str, *, key: str = KEY) -> None:
    detail = {"summary": "looks fine"}
    append_audit(session, datetime.now(UTC), actor="anna", action="approve", subject=subject, detail=detail, key=key)


def tamper(engine: Engine, *statements: str) -> None:
    """As the owner of the database may, who can switch triggers off."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE deployer.audit DISABLE TRIGGER USER"))
        for statement in statements:
            connection.execute(text(statement))


def verify(database_url: str, *arguments: str) -> tuple[int, str]:
    environment = {
        "HELIOTROPE_DATABASE_URL": database_url,
        "HELIOTROPE_DEPLOYER_AUDIT_KEY": KEY,
        "HELIOTROPE_MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    result = CliRunner().invoke(app, ["audit", "verify", *arguments], env=environment)
    return result.exit_code, result.output


@pytest.mark.parametrize("change", CHANGES)
def test_the_table_takes_new_entries_only(engine: Engine, change: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(change))
    with Session(engine) as session:
        assert load_audit_end(session).sequence == 5


def test_an_untouched_log_is_intact_and_one_that_lost_its_end_is_not(engine: Engine, database_url: str) -> None:
    with Session(engine) as session:
        anchor = str(load_audit_end(session))
    code, output = verify(database_url, "--anchor", anchor)
    assert (code, f"intact: 5 entries, the last one {anchor}" in output) == (0, True)
    tamper(engine, "DELETE FROM deployer.audit WHERE sequence > 3")
    code, output = verify(database_url, "--anchor", anchor)
    assert (code, "broken at entry 4: the log ends here, and entry 5 was anchored" in output) == (1, True)


def test_a_log_written_anew_without_the_key_is_seen(engine: Engine, database_url: str) -> None:
    tamper(engine, "DELETE FROM deployer.audit")
    with Session(engine) as session, session.begin():
        write(session, "another rollout", key="a guess")
    code, output = verify(database_url, "--anchor", f"1:{'a' * 64}")
    assert (code, "broken at entry 1" in output) == (1, True)


def test_the_log_is_read_in_pages(engine: Engine) -> None:
    with Session(engine) as session:
        newest, preceding = load_audit_page(session, before=None, limit=2)
        assert ([entry.sequence for entry in newest], preceding and preceding.sequence) == ([4, 5], 3)
        rest, preceding = load_audit_page(session, before=4, limit=3)
        assert ([entry.sequence for entry in rest], preceding) == ([1, 2, 3], None)
