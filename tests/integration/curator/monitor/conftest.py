"""A database with a champion and prompts of each split, and a monitor on it."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from services.curator.config.settings import CuratorSettings
from services.curator.monitor.handlers.look import Monitor
from services.curator.requests.handlers import request_retrain
from shared.events import Reason
from shared.settings import Settings
from shared.tables.curator import (
    Cell,
    Prompt,
    RetrainRequestRow,
    RoutingRow,
)
from tests.builders import EMBEDDER
from tests.integration.curator.monitor.scene import PROMOTED, Sessions, make_monitor


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    sessions = sessionmaker(engine, expire_on_commit=False)
    with sessions() as session, session.begin():
        for split in ("train", "validation", "gate"):
            session.add(Cell(cell=f"cell-{split}", split=split))
        session.flush()
        session.add_all(
            Prompt(
                prompt_hash=f"{split}-{n}",
                messages=[{"role": "user", "content": f"How do I return item {n} of {split}?"}],
                cell=f"cell-{split}",
                split=split,
            )
            for split in ("train", "validation", "gate")
            for n in range(20)
        )
        row = RoutingRow(family="heliotrope", generation=3, champion_version="2", champion_since=PROMOTED, table={})
        session.add(row)
    return sessions


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(home=tmp_path, database_url=database_url)


@pytest.fixture
def monitor(sessions: Sessions, settings: Settings) -> Monitor:
    def ask(session: Session, *, reasons: list[Reason], now: datetime) -> RetrainRequestRow:
        curator = CuratorSettings(recipe="support_bot")
        return request_retrain(session, settings=settings, curator=curator, embedder=EMBEDDER, reasons=reasons, now=now)

    return make_monitor(sessions, ask)
