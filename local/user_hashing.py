"""Carry every stored hash of a user onwards to the newest secret, in one transaction: `heliotrope keys carry-users`.

Postgres computes the HMACs, so that no row leaves it. Consumers wait meanwhile, and what was hashed before and arrives
later is carried by whoever stores it.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from shared.ids import derive_pads
from shared.user_hash_generations import calculate_fingerprint, check_fingerprints
from shared.user_hashes import SecretsDiffer, UserHashes
from shared.user_stores import EVIDENCE_LOCK

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class HashColumns:
    """Where hashes stand in a table: columns, keys of the JSON column `event`, rows that hold none left out."""

    table: str
    columns: tuple[str, ...]
    in_event: tuple[str, ...] = ()
    where: str = "true"


COLUMNS = (
    HashColumns("curator.interactions", ("user", "conversation_id", "content_hash"), ("user", "conversation_id")),
    HashColumns("curator.feedback", ("user", "content_hash"), ("user",)),
    HashColumns("curator.votes", ("user",)),
    HashColumns("curator.conflicting_events", ("content_hash",), ("user", "conversation_id")),
    HashColumns("curator.quarantined", ("subject_id",), where="subject_kind = 'user'"),
    HashColumns("curator.quarantine_decisions", ("subject_id",), where="subject_kind = 'user'"),
    HashColumns("curator.erasures", ("user",)),
    HashColumns("deployer.served_interactions", ("user",)),
    HashColumns("deployer.exposures", ("user",)),
    HashColumns("deployer.votes", ("user",)),
    HashColumns("deployer.feedback", ("content_hash",), ("user",)),
    HashColumns("evaluator.comparisons", ("voter", "offered_to")),
)
DOCUMENTS = {"curator.quarantined": "detail", "curator.datasets": "manifest", "curator.detectors": "state"}
"""Table -> its JSON column that may name users among other things."""

NAMES_OF_USERS = """
    SELECT "user" AS name FROM curator.interactions UNION SELECT "user" FROM curator.feedback
    UNION SELECT "user" FROM curator.erasures
"""


def carry_users(database_url: str, configured: UserHashes, *, lost: bool = False) -> dict[str, int]:
    """Carry all hashes onwards to the newest configured secret; return the rows changed, by table. Safe to repeat.

    With `lost`, the secret of before is gone: the newest one starts anew, and nothing leads from old hashes to it.

    Raises:
        SecretsDiffer: a configured secret is not the one that the database knows; `lost`: none is new to it.
    """
    changed = dict.fromkeys((*(one.table for one in COLUMNS), *DOCUMENTS), 0)
    with _hold_alone(database_url) as connection:
        known = _load_generations(connection)
        newest = len(configured.later)
        if lost:
            _check_newest(newest, known)
        else:
            check_fingerprints(configured, known)
        for generation, secret in enumerate(configured.later, start=1):
            anew = known[generation][1] if generation in known else lost and generation == newest
            _record(connection, generation, secret, anew=anew)
            if not anew and known.get(generation, (calculate_fingerprint(secret),))[0] == calculate_fingerprint(secret):
                for table, rows in _carry_once(connection, generation, secret):
                    changed[table] += rows
    return changed


def _check_newest(newest: int, known: Mapping[int, tuple[str, bool]]) -> None:
    """Raises: SecretsDiffer: the database knows the newest secret's number already, and not as a beginning."""
    latest = max(known, default=0)
    if newest < latest or (newest == latest and not (latest in known and known[latest][1])):
        raise SecretsDiffer(
            f"the database knows {latest} later secrets, there are {newest} here: draw another one first "
            "(heliotrope keys rotate user-hash)"
        )


def record_first_secret(database_url: str, secret: str) -> None:
    """Record which secret users are hashed with, if the database knows of none: another is noticed from then on."""
    with psycopg.connect(_plain(database_url)) as connection:
        if not _load_generations(connection):
            _record(connection, 0, secret, anew=False)


def check_secrets(database_url: str, configured: UserHashes) -> None:
    """Raises: SecretsDiffer: the database's users are hashed with another secret."""
    with psycopg.connect(_plain(database_url)) as connection:
        check_fingerprints(configured, _load_generations(connection))


def count_left(database_url: str, generation: int) -> int:
    """Count the users' hashes that stand at an older generation still."""
    with psycopg.connect(_plain(database_url)) as connection:
        query = f"SELECT count(*) FROM ({NAMES_OF_USERS}) AS users WHERE name ~ %s"
        older = [_match(number) for number in range(generation)]
        rows = (connection.execute(query.encode(), (pattern,)).fetchone() for pattern in older)
        return sum(row[0] for row in rows if row)


@contextmanager
def _hold_alone(database_url: str) -> Iterator[Connection]:
    """Open a transaction in which nobody else stores a user's hash."""
    tables = sorted({one.table for one in COLUMNS} | DOCUMENTS.keys())
    with psycopg.connect(_plain(database_url)) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (EVIDENCE_LOCK,))
        names = sql.SQL(", ").join(sql.Identifier(*table.split(".")) for table in tables)
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))
        yield connection


def _load_generations(connection: Connection) -> dict[int, tuple[str, bool]]:
    rows = connection.execute("SELECT generation, fingerprint, starts_anew FROM access.user_hash_generations")
    return {generation: (fingerprint, anew) for generation, fingerprint, anew in rows}


def _record(connection: Connection, generation: int, secret: str, *, anew: bool) -> None:
    query = "INSERT INTO access.user_hash_generations VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
    connection.execute(query, (generation, calculate_fingerprint(secret), anew))


def _carry_once(connection: Connection, generation: int, secret: str) -> Iterator[tuple[str, int]]:
    """Carry what stands at the generation before; yield (table, rows changed)."""
    outer, inner = derive_pads(secret)
    prefix = f"{generation}."
    before = "" if generation == 1 else f"{generation - 1}."
    values = {
        "outer": outer,
        "inner": inner,
        "prefix": prefix,
        "before": len(before),
        "pattern": _match(generation - 1),
    }
    connection.execute("DROP TABLE IF EXISTS carried")
    new = _carried("name")
    names = sql.SQL(NAMES_OF_USERS)
    query = "CREATE TEMP TABLE carried AS SELECT name, {} AS carried FROM ({}) AS users WHERE name ~ %(pattern)s"
    connection.execute(sql.SQL(query).format(new, names), values)
    for table, column in DOCUMENTS.items():
        yield table, _carry_documents(connection, table, column, generation - 1)
    for one in COLUMNS:
        yield one.table, connection.execute(_make_update(one), values).rowcount


def _match(generation: int) -> str:
    return f"^{f'{generation}[.]' if generation else ''}([0-9a-f]{{32}}|[0-9a-f]{{64}})$"


def _carried(column: str) -> sql.Composed:
    """SQL of a hash carried onwards: RFC 2104 with padded keys, cut to the length that the hash had."""
    text = sql.SQL(column)
    return sql.SQL(
        """CASE WHEN {0} ~ %(pattern)s THEN %(prefix)s || left(encode(sha256(%(outer)s::bytea
        || sha256(%(inner)s::bytea || convert_to({0}, 'UTF8'))), 'hex'), length({0}) - %(before)s) ELSE {0} END"""
    ).format(text)


def _make_update(one: HashColumns) -> sql.Composed:
    quoted = [f'"{column}"' for column in one.columns]
    changes = [sql.SQL("{} = {}").format(sql.SQL(column), _carried(column)) for column in quoted]
    if one.in_event:
        keys = [sql.SQL("{}, {}").format(sql.Literal(key), _carried(f"(event->>'{key}')")) for key in one.in_event]
        built = sql.SQL("event = event || jsonb_strip_nulls(jsonb_build_object({}))").format(sql.SQL(", ").join(keys))
        changes.append(built)
    found = [sql.SQL("{} ~ %(pattern)s").format(sql.SQL(column)) for column in quoted]
    return sql.SQL("UPDATE {} SET {} WHERE {} AND ({})").format(
        sql.Identifier(*one.table.split(".")),
        sql.SQL(", ").join(changes),
        sql.SQL(one.where),
        sql.SQL(" OR ").join(found),
    )


def _carry_documents(connection: Connection, table: str, column: str, generation: int) -> int:
    """Carry the users whom a JSON column names; whatever else looks like a hash stays."""
    hashes = re.compile(rf"\b{f'{generation}[.]' if generation else '(?<![.])'}[0-9a-f]{{32}}\b")
    place, column_name = sql.Identifier(*table.split(".")), sql.Identifier(column)
    rows = connection.execute(sql.SQL("SELECT ctid::text, {}::text FROM {}").format(column_name, place)).fetchall()
    changed = 0
    for ctid, text in rows:
        found = list(set(hashes.findall(text or "")))
        known: Mapping[str, str] = dict(
            connection.execute("SELECT name, carried FROM carried WHERE name = ANY(%s)", (found,)).fetchall()
        )
        if known:
            carried = hashes.sub(lambda match: known.get(match[0], match[0]), text)  # noqa: B023 - used at once
            update = sql.SQL("UPDATE {} SET {} = %s::jsonb WHERE ctid = %s::tid").format(place, column_name)
            connection.execute(update, (carried, ctid))
            changed += 1
    return changed


def _plain(database_url: str) -> str:
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
