"""The curator's HTTP app over a real Postgres, and made-up users who talk to it."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from services.curator.app.api import create_router
from services.curator.app.consumer import CuratorConsumer
from services.curator.config.settings import CuratorSettings
from services.curator.erasure.api import create_erasure_router
from services.curator.erasure.handlers import Eraser
from services.curator.imports.api import create_imports_router
from services.curator.imports.handlers import Withdrawer
from services.curator.requests.api import create_loop_router
from services.curator.requests.handlers import request_retrain
from services.curator.review.api import create_review_router
from shared.artifacts import open_artifacts
from shared.auth import KeyRing, create_key, load_keys
from shared.bus import encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters
from shared.events import (
    AnyFeedback,
    Edit,
    Event,
    FeedbackReceived,
    InteractionRecorded,
    Reason,
    RolloutAdvanced,
)
from shared.http import create_app
from shared.ids import calculate_user_hash
from shared.settings import Settings
from shared.tables.curator import RetrainRequestRow
from shared.user_hash_generations import UserHashesInForce, load_user_hashes
from shared.user_hashes import UserHashes
from tests.builders import EMBEDDER, NOON, make_choice, make_feedback, make_interaction, make_routing

SECRET = "a secret of sixteen"
HASHES = UserHashes(SECRET, ("a later secret",))
"""What the curator is given; the database says how much of it is in force."""
WORDS = "zanzibar"
"""In everything that Ines says, and in nothing else."""


def hashed(user: str) -> str:
    user_hash = calculate_user_hash(user, None, SECRET)
    assert user_hash is not None
    return user_hash


@dataclass
class Curator:
    sessions: sessionmaker[Session]
    settings: Settings
    client: TestClient
    keys: dict[str, str]
    loop: ConsumerLoop
    hashes: UserHashesInForce

    def hear(self, *events: Event) -> None:
        self.loop.handle_batch([encode(event, source="test") for event in events])

    def call(self, method: str, path: str, role: str = "admin", **options: Any) -> Any:
        return self.client.request(method, path, headers={"authorization": f"Bearer {self.keys[role]}"}, **options)

    def erase(self, user: str = "ines@shop", role: str = "admin") -> Any:
        return self.call("POST", "/v1/erasures", role, json={"user_id": user})

    def freeze(self) -> RetrainRequestRow:
        reasons = [Reason(kind="manual", summary="the test asks")]
        with self.sessions() as session, session.begin():
            return request_retrain(
                session,
                settings=self.settings,
                curator=CuratorSettings(),
                embedder=EMBEDDER,
                reasons=reasons,
                now=NOON,
            )

    def find_words(self) -> list[str]:
        """Tables and files in which Ines' words stand."""
        found = []
        with self.sessions() as session:
            tables = session.execute(
                text(
                    "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
                    " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'"
                )
            ).scalars()
            for table in tables.all():
                if session.scalar(text(f"SELECT count(*) FROM {table} t WHERE t::text ILIKE '%{WORDS}%'")):
                    found.append(table)
        for file in self.settings.home.rglob("*"):
            if file.is_file() and WORDS in read_text(file):
                found.append(str(file))
        return found


def read_text(file: Path) -> str:
    if file.suffix != ".parquet":
        return file.read_text(errors="replace")
    import pyarrow.parquet

    return json.dumps(pyarrow.parquet.read_table(file).to_pylist())


@contextmanager
def open_curator(database_url: str, home: Path, **changes: Any) -> Iterator[Curator]:
    engine = create_engine(database_url)
    sessions, broker = sessionmaker(engine, expire_on_commit=False), MemoryBroker()
    settings = Settings(home=home, **changes)
    letters, load_hashes = DeadLetters(MemoryProducer(broker), "curator"), partial(load_user_hashes, HASHES)
    loop = ConsumerLoop(
        "curator", MemoryConsumer(broker, [], "g"), CuratorConsumer(load_hashes), sessions, letters, savepoints=False
    )
    with sessions() as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("ops", "admin", "frontend")}
    app = create_app("curator", checks={})
    app.state.keys = KeyRing(lambda: load_keys(sessions))
    app.state.keys.refresh()
    hashes = UserHashesInForce(HASHES, sessions)
    artifacts, prefix = open_artifacts(settings), settings.topic_prefix
    eraser = Eraser(sessions, settings.datasets, artifacts, timedelta(days=7), lambda: NOON, load_hashes, prefix)
    app.include_router(create_router(sessions))
    app.include_router(create_review_router(sessions, lambda: NOON))
    app.include_router(create_loop_router(sessions, settings, CuratorSettings(), EMBEDDER, lambda: NOON))
    app.include_router(create_imports_router(sessions, Withdrawer(eraser)))
    app.include_router(create_erasure_router(sessions, eraser, hashes))
    with TestClient(app) as client:
        yield Curator(sessions, settings, client, keys, loop, hashes)
    engine.dispose()


def asked(number: int, question: str, answer: str, user: str | None) -> InteractionRecorded:
    return make_interaction(number, question, answer, user=user)


def said(event: int, about: int, feedback: AnyFeedback, user: str | None) -> FeedbackReceived:
    return make_feedback(100_000 + event, about, feedback, received_at=NOON + timedelta(minutes=event), user=user)


VOCABULARY = [
    f"{head}{tail}"
    for head in ("am", "bel", "cor", "dan", "el", "fir", "gal")
    for tail in ("ber", "dor", "lin", "mas", "nel", "ric", "ton")
]


def live(user: str, start: int, mark: str) -> list[Event]:
    """What one user asks, hears and says: choices and edits over 30 prompts, with a word of theirs in each."""
    rng = random.Random(start)

    def say() -> str:
        return f"{mark} {' '.join(rng.sample(VOCABULARY, 9))}"

    events: list[Event] = []
    for number in range(start, start + 60, 2):
        question, other = say(), say()
        events.append(asked(number, question, say(), user))
        events.append(asked(number + 1, question, other, user))
        events.append(said(number, number, make_choice(number, number + 1), user))
        edit = Edit(text=f"{other} {say()}")
        events.append(said(number + 1, number + 1, edit, user))
    return events


def adopted() -> RolloutAdvanced:
    return RolloutAdvanced(state="adopted", summary="", routing=make_routing(), at=NOON)
