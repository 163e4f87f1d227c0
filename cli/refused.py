"""What relays put aside: the tables beside the outboxes, and the file of the gateway's spool."""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import Session

from cli.database import find_database_url
from local.errors import StackFailed
from local.layout import find_home
from shared.bus import Record
from shared.tables import curator, deployer, evaluator, trainer
from shared.tables.base import RefusedRow

TABLES: dict[str, type[RefusedRow]] = {
    "curator-outbox": curator.Refused,
    "trainer-outbox": trainer.Refused,
    "evaluator-outbox": evaluator.Refused,
    "deployer-outbox": deployer.Refused,
}
SPOOL = "gateway-spool"


@dataclass(frozen=True)
class Refused:
    """One record that the broker refused; `place` names it within its store."""

    place: str
    record: Record
    reason: str
    at: str


class RefusedStore(Protocol):
    """Where one relay puts records aside."""

    @property
    def name(self) -> str:
        """As `--consumer` names it."""

    def load(self) -> Iterator[Refused]:
        """Return the records, oldest first."""

    def forget(self, places: Sequence[str]) -> None:
        """Forget these: the bus has them by now."""


@dataclass(frozen=True)
class TableStore:
    name: str
    url: str
    table: type[RefusedRow]

    def load(self) -> Iterator[Refused]:
        engine = create_engine(self.url)
        with Session(engine) as session:
            for row in session.scalars(select(self.table).order_by(self.table.sequence)):
                record = Record(row.topic, row.key, row.value, dict(row.headers))
                yield Refused(str(row.sequence), record, row.reason, row.refused_at.isoformat())
        engine.dispose()

    def forget(self, places: Sequence[str]) -> None:
        engine = create_engine(self.url)
        with Session(engine) as session, session.begin():
            session.execute(delete(self.table).where(self.table.sequence.in_(map(int, places))))
        engine.dispose()


@dataclass(frozen=True)
class SpoolStore:
    """The gateway may run meanwhile: SQLite keeps the two apart."""

    path: Path
    name: str = SPOOL

    def load(self) -> Iterator[Refused]:
        query = "SELECT sequence, topic, key, value, headers, reason, refused_at FROM refused ORDER BY sequence"
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'refused'").fetchone():
                return  # of an older release
            for sequence, topic, key, value, headers, reason, at in connection.execute(query).fetchall():
                yield Refused(str(sequence), Record(topic, key, value, json.loads(headers)), reason, at)

    def forget(self, places: Sequence[str]) -> None:
        with closing(sqlite3.connect(self.path, timeout=10)) as connection, connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.executemany("DELETE FROM refused WHERE sequence = ?", [(int(place),) for place in places])


def find_stores() -> list[RefusedStore]:
    """Return those within reach: the tables of the database, and the spool of this machine's gateway."""
    stores: list[RefusedStore] = []
    try:
        url = find_database_url()
        stores += [TableStore(name, url, table) for name, table in TABLES.items()]
    except StackFailed:
        pass
    folder = os.environ.get("HELIOTROPE_GATEWAY_STATE_DIR")
    spool = (Path(folder) if folder else find_home() / "gateway") / "spool.sqlite"
    return [*stores, SpoolStore(spool)] if spool.exists() else stores
