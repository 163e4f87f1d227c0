"""Pages read a bounded number of rows, however many there are."""

import os
import time
from typing import Any

from sqlalchemy import text

from tests.integration.console.scene import Desk

ROWS = int(os.environ.get("HELIOTROPE_CONSOLE_ROWS", "40000"))
MOST_READ = 25_000
"""Of one page: two windows of searches, and counts that stop at 10,000."""

FILL = """
INSERT INTO curator.prompts (prompt_hash, messages, cell, split, form)
SELECT 'p' || n, '[{"role": "user", "content": "where is my parcel?"}]', 'c', 'train', 1
FROM generate_series(1, :rows / 4) AS n;
INSERT INTO curator.interactions
    (interaction_id, key_id, prompt_hash, answer, model_version, served_at, "user", conversation_id, content_hash,
     event)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'k', 'p' || (1 + n % (:rows / 4)),
    'an answer of some length that says where a parcel may be ' || n, '1', now() - n * interval '2 seconds',
    'u' || n % 1000, 'c' || n / 3, 'h', '{}'
FROM generate_series(1, :rows) AS n;
INSERT INTO curator.feedback
    (event_id, key_id, interaction_id, type, "user", happened_at, received_at, content_hash, state, event)
SELECT ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, 'k',
    ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'thumb', 'u' || n % 1000,
    now() - n * interval '2 seconds', now() - n * interval '2 seconds', 'h', 'attached',
    '{"feedback": {"type": "thumb", "value": "up"}}'
FROM generate_series(1, :rows) AS n;
INSERT INTO curator.pairs
    (pair_id, prompt_hash, rule, rule_version, chosen, rejected, rejected_interaction_id, rejected_version, evidence,
     epsilon, state, created_at)
SELECT 'pair ' || n, 'p' || (1 + n % (:rows / 4)), 'edit', 1, 'chosen ' || n, 'rejected ' || n,
    ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '1', '{}', 0.1, 'active',
    now() - n * interval '2 seconds'
FROM generate_series(1, :rows) AS n
"""
READ = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables
WHERE schemaname = 'curator' AND relname IN ('prompts', 'interactions', 'feedback', 'pairs', 'votes', 'dataset_items')
"""
SEARCHES = (
    "/feedback?words=nothing+has+this",
    "/feedback?type=edit&version=9",
    "/pairs?words=nothing+has+this",
    "/pairs?state=refused",
    "/feedback?id=c77",
    "/pairs/pair%2077",
    "/conversations/00000000-0000-7000-8000-000000000077",
)


def fill(desk: Desk, rows: int) -> None:
    engine: Any = desk.setup.engine
    for statement in FILL.split(";\n"):
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text(statement), {"rows": rows})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def read_rows(desk: Desk) -> int:
    """Rows that were read of the large tables so far; processes report what they read within a second."""
    time.sleep(1.2)
    with desk.app.state.console.sessions() as session:
        session.execute(text("SELECT pg_stat_force_next_flush()"))
    with desk.setup.sessions() as session:
        return int(session.scalar(text(READ)) or 0)


def test_no_page_reads_more_rows_the_more_there_are(desk: Desk):
    fill(desk, ROWS)
    admin = desk.sign_in("admin")
    admin.get("/health")
    before = read_rows(desk)
    slowest = {}
    for path in [*desk.rows.list_paths(), *SEARCHES]:
        started = time.monotonic()
        answer = admin.get(path)
        slowest[path] = round(time.monotonic() - started, 3)
        assert answer.status_code in (200, 303), (path, answer.text[:500])
        after = read_rows(desk)
        assert after - before <= MOST_READ, (path, after - before)
        before = after
    print(ROWS, sorted(slowest.items(), key=lambda each: -each[1])[:8])  # noqa: T201
