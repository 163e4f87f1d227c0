"""What the tables hold, against what was acknowledged."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import make_url

CONNECT_SECONDS = 3
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Tables:
    """Reads over a new connection each time: Postgres is a victim, too."""

    def __init__(self, database_url: str) -> None:
        self._url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)

    def ask(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """Raises: psycopg.OperationalError, while Postgres is away."""
        with psycopg.connect(self._url, connect_timeout=CONNECT_SECONDS) as connection:
            return connection.execute(query, values).fetchall()

    def holds(self, query: str, **values: Any) -> bool:
        """Whether the query finds a row whose first column is true; no, while Postgres is away."""
        try:
            return bool((rows := self.ask(query, **values)) and rows[0][0])
        except psycopg.OperationalError:
            return False

    def list_ids(self, query: str, **values: Any) -> set[UUID]:
        return {row[0] for row in self.ask(query, **values)}


@dataclass(frozen=True)
class Reconciliation:
    """Ids that were acknowledged and are not there, and ids that are there and were never sent."""

    events: int
    answers: int
    lost_events: frozenset[UUID]
    lost_answers: frozenset[UUID]
    unknown_events: frozenset[UUID]
    counted_twice: int

    @property
    def is_clean(self) -> bool:
        return not (self.lost_events or self.lost_answers or self.unknown_events or self.counted_twice)


def list_curated_events(tables: Tables, since: datetime = LONG_AGO) -> set[UUID]:
    """Of events that ingest received from `since` on."""
    return tables.list_ids("SELECT event_id FROM curator.feedback WHERE received_at >= %(since)s", since=since)


def list_curated_answers(tables: Tables) -> set[UUID]:
    return tables.list_ids("SELECT interaction_id FROM curator.interactions")


def list_heard_feedback(tables: Tables) -> set[UUID]:
    return tables.list_ids("SELECT event_id FROM deployer.feedback")


def reconcile(
    tables: Tables,
    *,
    events: Collection[UUID],
    answers: Collection[UUID],
    sent: Collection[UUID],
    since: datetime = LONG_AGO,
) -> Reconciliation:
    """The curator's tables against `events` and `answers`, which were acknowledged, and `sent`, which perhaps were not.

    `since` leaves out what others did on the same stack before.

    Counted twice are events that more than one pair of the rules that make one pair of one event rests on.
    """
    curated = list_curated_events(tables, since)
    twice = tables.ask(
        "SELECT rule, event_id FROM curator.pairs, unnest(evidence) AS event_id"
        " WHERE rule IN ('choice', 'edit') GROUP BY rule, event_id HAVING count(*) > 1"
    )
    return Reconciliation(
        events=len(set(events)),
        answers=len(set(answers)),
        lost_events=frozenset(events) - curated,
        lost_answers=frozenset(answers) - list_curated_answers(tables),
        unknown_events=frozenset(curated) - frozenset(events) - frozenset(sent),
        counted_twice=len(twice),
    )
