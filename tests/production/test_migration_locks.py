"""Migrating from the release before under traffic: nobody waits for a migration's lock longer than two seconds.

`HELIOTROPE_TEST_MIGRATION_ROWS` rows stand in every table that a migration touches; `make test-migrations` takes 10^7,
which need 20 GB. `build/migration-locks.json` holds the waits.
"""

import os
import threading
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

from local.results import Goal, Row, write_result

pytestmark = [pytest.mark.ops, pytest.mark.timeout(3000)]

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"
ROWS = int(os.environ.get("HELIOTROPE_TEST_MIGRATION_ROWS", "300000"))
RELEASED = "0055"
"""The head of release 0.1.0."""
MOST_SECONDS = 2.0
READER_SECONDS, READER_PATIENCE_SECONDS = 6.0, 600.0
EVALUATION = "00000000-0000-7000-8000-000000000001"
FILL = (
    "INSERT INTO curator.cells (cell, split) SELECT 'c' || n, 'train' FROM generate_series(1, {rows}) n",
    "INSERT INTO curator.prompts (prompt_hash, messages, cell, split)"
    """ SELECT 'p' || n, '[{{"role": "user", "content": "Where is my parcel?"}}]', 'c' || n, 'train'"""
    " FROM generate_series(1, {rows}) n",
    'INSERT INTO deployer.served_interactions (interaction_id, rollout_id, "user", served_version, served_at)'
    " SELECT lpad(to_hex(n), 32, '0')::uuid, '{evaluation}', 'u' || n, '1', now() FROM generate_series(1, {rows}) n",
    "INSERT INTO deployer.heard_thumbs (event_id, interaction_id, up)"
    " SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex(n), 32, '0')::uuid, true FROM generate_series(1, {rows}) n",
    "INSERT INTO evaluator.evaluations (evaluation_id, request_id, run_id, candidate_version, champion_version,"
    " training, state, deadline_at) SELECT '{evaluation}', '{evaluation}', '{evaluation}', '2', '1', '{{}}',"
    " 'completed', now()",
    "INSERT INTO evaluator.comparisons (comparison_id, evaluation_id, position, prompt_hash, messages, left_answer,"
    " right_answer, candidate_is_left) SELECT lpad(to_hex(n), 32, '0')::uuid, '{evaluation}', 0, 'p' || n, '[]', 'a',"
    " 'b', true FROM generate_series(1, {rows}) n",
    "INSERT INTO trainer.runs (run_id, request_id, dataset_sha256, dataset_uri, parent_version, recipe, recipe_sha256,"
    " state, deadline_at) SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex(n), 32, '0')::uuid, 'd', 'u', '1', '{{}}',"
    " 'r', 'succeeded', now() FROM generate_series(1, {rows}) n",
    "INSERT INTO deployer.audit (sequence, at, actor, action, subject, detail, previous_hash, hash)"
    " SELECT n, now(), 'ada', 'approve', 's', '{{}}', 'p', 'h' FROM generate_series(1, {rows}) n",
)
WRITES = {
    "curator.cells": "UPDATE curator.cells SET split = split WHERE cell = 'c1'",
    "curator.prompts": "UPDATE curator.prompts SET messages = messages WHERE prompt_hash = 'p1'",
    "deployer.served_interactions": "UPDATE deployer.served_interactions SET served_version = '1'"
    " WHERE interaction_id = lpad('1', 32, '0')::uuid",
    "deployer.heard_thumbs": "INSERT INTO deployer.heard_thumbs (event_id, interaction_id, up)"
    " VALUES (gen_random_uuid(), gen_random_uuid(), true)",
    "evaluator.comparisons": "UPDATE evaluator.comparisons SET vote = 'left'"
    " WHERE comparison_id = lpad('1', 32, '0')::uuid",
    "deployer.rollouts": "UPDATE deployer.rollouts SET state = state",
    "deployer.audit": "INSERT INTO deployer.audit (sequence, at, actor, action, subject, detail, previous_hash, hash)"
    " SELECT max(sequence) + 1, now(), 'ada', 'approve', 's', '{}', 'p', 'h' FROM deployer.audit",
    "trainer.runs": "UPDATE trainer.runs SET progress = progress WHERE run_id = lpad('1', 32, '0')::uuid",
}
"""What the release before does meanwhile; each commits by itself."""


class Traffic:
    """Writes to every table again and again; `waits` holds the longest that one took."""

    def __init__(self, dsn: str) -> None:
        self.waits = dict.fromkeys(WRITES, 0.0)
        self._dsn, self._over = dsn, threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(table,)) for table in WRITES]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, table: str) -> None:
        with closing(psycopg.connect(self._dsn, autocommit=True)) as connection:
            while not self._over.is_set():
                started = time.monotonic()
                connection.execute(WRITES[table])
                self.waits[table] = max(self.waits[table], time.monotonic() - started)
                time.sleep(0.02)


def write_waits(waits: dict[str, float], seconds: float) -> None:
    rows = [Row.of(f"longest wait of a writer of {table}", "s", [wait]) for table, wait in waits.items()]
    goals = [Goal("longest wait for a migration's lock", max(waits.values()), MOST_SECONDS, "at_most")]
    BUILD.mkdir(exist_ok=True)
    settings = {"rows_of_each_table": ROWS, "from": RELEASED, "seconds": round(seconds)}
    write_result("migration-locks", rows, goals, settings, BUILD)


@pytest.fixture
def released(database_url: str) -> tuple[Config, str]:
    """A database as the release before left it, filled."""
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = database_url
    command.downgrade(config, RELEASED)
    dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        for statement in FILL:
            connection.execute(statement.format(rows=ROWS, evaluation=EVALUATION))
        connection.execute("ANALYZE")
    return config, dsn


def read_until_waited_for(dsn: str) -> None:
    """A report over the prompts; it ends some time after a migration has begun to wait for its locks."""
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock')"
    with closing(psycopg.connect(dsn)) as connection, closing(psycopg.connect(dsn, autocommit=True)) as other:
        connection.execute("SELECT FROM curator.prompts, curator.cells LIMIT 1")
        deadline = time.monotonic() + READER_PATIENCE_SECONDS
        while time.monotonic() < deadline and other.execute(waiting).fetchone() != (True,):
            time.sleep(0.01)
        time.sleep(READER_SECONDS)


def test_nobody_waits_longer_than_two_seconds_while_a_full_database_is_migrated(
    released: tuple[Config, str], capsys: pytest.CaptureFixture[str]
):
    config, dsn = released
    reader = threading.Thread(target=read_until_waited_for, args=(dsn,))
    started = time.monotonic()
    with Traffic(dsn) as traffic:
        reader.start()
        command.upgrade(config, "head")
    reader.join()
    with capsys.disabled():
        write_waits(traffic.waits, time.monotonic() - started)
    assert max(traffic.waits.values()) < MOST_SECONDS, traffic.waits
    with closing(psycopg.connect(dsn)) as connection:
        heard = connection.execute("SELECT count(*) FROM deployer.heard_thumbs").fetchone()
        assert connection.execute("SELECT count(*) FROM deployer.feedback").fetchone() == heard, "none was left behind"
        broken = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        assert connection.execute(broken).fetchone() == (0,)


def test_a_migration_that_was_cut_short_goes_on_where_it_was(released: tuple[Config, str]):
    """As far as an index that was being built concurrently: columns are there, the index is not valid."""
    config, dsn = released
    command.upgrade(config, "0070")
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        connection.execute("ALTER TABLE curator.prompts ADD COLUMN tools jsonb")
        connection.execute("ALTER TABLE curator.prompts ADD COLUMN form smallint NOT NULL DEFAULT 0")
        connection.execute("CREATE INDEX ix_prompts_old_form ON curator.prompts (prompt_hash)")
    command.upgrade(config, "head")
