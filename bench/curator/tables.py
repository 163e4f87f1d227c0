"""The curator's tables, filled to a size, and the plain COPY that its path from topic to rows is held against."""

import time
from pathlib import Path

import psycopg
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import sessionmaker

from bench.curator.history import make_history
from services.curator.app.consumer import CuratorConsumer
from shared.events import AnyEvent

TABLES = ("cells", "prompts", "interactions", "feedback", "pairs", "labels")
MULTIPLY = {
    "prompts": ("{hash:prompt_hash}", "messages", "cell", "split"),
    "interactions": (
        "{uuid:interaction_id}",
        "key_id",
        "{hash:prompt_hash}",
        "answer",
        "model_version",
        "served_at",
        '"user"',
        "conversation_id",
        "error",
        "content_hash",
        "event",
    ),
    "feedback": (
        "{uuid:event_id}",
        "key_id",
        "{uuid:interaction_id}",
        "{uuid:other_interaction_id}",
        "type",
        '"user"',
        "happened_at",
        "received_at",
        "content_hash",
        "state",
        "event",
    ),
    "pairs": (
        "{hash:pair_id}",
        "{hash:prompt_hash}",
        "rule",
        "rule_version",
        "chosen",
        "rejected",
        "{uuid:chosen_interaction_id}",
        "{uuid:rejected_interaction_id}",
        "chosen_version",
        "rejected_version",
        "evidence",
        "epsilon",
        "state",
        "reason",
    ),
    "labels": (
        "{hash:label_id}",
        "{hash:prompt_hash}",
        "rule",
        "rule_version",
        "{uuid:interaction_id}",
        "model_version",
        "desirable",
        "evidence",
        "epsilon",
    ),
}


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


def store(url: str, prompts: int, seed: int) -> int:
    """Store and derive a history through the curator's own code, without a broker; return how many events."""
    engine = create_engine(url)
    sessions = sessionmaker(engine, expire_on_commit=False)
    consumer = CuratorConsumer()
    events: list[AnyEvent] = list(make_history(prompts, seed))
    for start in range(0, len(events), 1000):
        batch = events[start : start + 1000]
        with sessions() as session, session.begin():
            consumer.prepare(session, batch)
            for event in batch:
                consumer.handle(session, event)
            consumer.finish(session, batch)
    engine.dispose()
    return len(events)


def multiply(url: str, copies: int) -> None:
    """Make every row of evidence stand `copies` times, under other ids and hashes."""
    with connect(url) as connection:
        for table, columns in MULTIPLY.items():
            names = ", ".join(_name(column) for column in columns)
            values = ", ".join(_change(column) for column in columns)
            connection.execute(
                f"INSERT INTO curator.{table} ({names}) SELECT {values} FROM curator.{table}, "
                f"generate_series(1, {copies - 1}) AS copy"
            )
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _name(column: str) -> str:
    return column.strip("{}").split(":")[-1]


def _change(column: str) -> str:
    name = _name(column)
    if column.startswith("{uuid"):
        return f"overlay({name}::text placing lpad(to_hex(copy), 8, '0') from 29 for 8)::uuid"
    if column.startswith("{hash"):
        return f"encode(sha256(({name} || copy)::bytea), 'hex')"
    return name


def dump(url: str, folder: Path) -> None:
    """Write every row as COPY's text, a file for each table."""
    with connect(url) as connection:
        for table in TABLES:
            with connection.cursor().copy(f"COPY curator.{table} TO STDOUT") as copy:
                (folder / table).write_bytes(b"".join(copy))


def measure_copy(url: str, folder: Path) -> float:
    """Return the seconds that a plain COPY of the dumped rows takes, in one transaction."""
    started = time.perf_counter()
    with connect(url) as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE new_cells (LIKE curator.cells) ON COMMIT DROP")
        for table in TABLES:
            target = "new_cells" if table == "cells" else f"curator.{table}"
            with cursor.copy(f"COPY {target} FROM STDIN") as copy:
                copy.write((folder / table).read_bytes())
            if table == "cells":
                cursor.execute("INSERT INTO curator.cells SELECT * FROM new_cells ON CONFLICT DO NOTHING")
    return time.perf_counter() - started
