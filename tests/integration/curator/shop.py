"""The curator without its bus over a real Postgres, and a made-up day in a shop."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import Session, sessionmaker

from services.curator.app.consumer import CuratorConsumer
from services.curator.config.settings import CuratorSettings
from services.curator.requests.handlers import request_retrain
from shared.bus import encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters, dead_letter_topic
from shared.events import (
    AnyFeedback,
    Edit,
    Event,
    FeedbackReceived,
    InteractionRecorded,
    Reason,
    Regenerate,
    RolloutAdvanced,
    Thumb,
)
from shared.settings import Settings
from shared.tables.curator import (
    ConflictingEvent,
    Dataset,
    Feedback,
    Interaction,
    Label,
    Outbox,
    Pair,
    RetrainRequestRow,
)
from tests.builders import EMBEDDER, MORNING, make_choice, make_feedback, make_interaction, make_route, make_routing

ITEMS = ("toaster", "kettle", "lamp", "rug", "desk", "chair", "mirror", "clock", "vase", "shelf", "radio", "fan")
QUESTIONS = ("Where is my {}? It should be here.", "How do I return the {}?", "My {} broke after one day. What now?")
MANUAL = [Reason(kind="manual", summary="the test asks")]


@dataclass
class Curator:
    """The process without its bus."""

    sessions: sessionmaker[Session]
    settings: Settings
    own: CuratorSettings

    def __post_init__(self) -> None:
        broker = MemoryBroker()
        producer, consumer = MemoryProducer(broker), MemoryConsumer(broker, [], "heliotrope-curator")
        self.loop = ConsumerLoop(
            "curator", consumer, CuratorConsumer(), self.sessions, DeadLetters(producer, "curator"), savepoints=False
        )
        self.broker = broker

    def hear(self, *events: Event) -> None:
        self.loop.handle_batch([encode(event, source="test") for event in events])
        for event in events:
            assert not self.broker.records(dead_letter_topic(event.topic, "curator"))

    def retrain(self, now: datetime = MORNING) -> RetrainRequestRow:
        with self.sessions() as session, session.begin():
            return request_retrain(
                session, settings=self.settings, curator=self.own, embedder=EMBEDDER, reasons=MANUAL, now=now
            )

    def forget(self) -> None:
        """Empty the tables that hold evidence and what was made of it."""
        with self.sessions() as session, session.begin():
            for table in (Pair, Label, Feedback, ConflictingEvent, RetrainRequestRow, Dataset, Outbox):
                session.execute(delete(table))
            session.execute(delete(Interaction))

    def read(self, table: Any) -> list[Any]:
        with self.sessions() as session:
            return list(session.scalars(select(table)))


@contextmanager
def open_curator(database_url: str, home: Path) -> Iterator[Curator]:
    engine = create_engine(database_url)
    settings = Settings(home=home)
    yield Curator(sessionmaker(engine, expire_on_commit=False), settings, CuratorSettings())
    engine.dispose()


def asked(number: int, question: str, answer: str, *, user: str = "ines", version: str = "1") -> InteractionRecorded:
    served_at = MORNING + timedelta(seconds=number)
    return make_interaction(number, question, answer, user=user, model_version=version, served_at=served_at)


def said(event: int, about: int, feedback: AnyFeedback, *, user: str | None = "ines") -> FeedbackReceived:
    received_at = MORNING + timedelta(minutes=event % 7)
    return make_feedback(100_000 + event, about, feedback, user=user, received_at=received_at)


def chose(event: int, one: int, other: int, preferred: int, *, user: str = "ines") -> FeedbackReceived:
    return said(event, one, make_choice(one, other, preferred), user=user)


def adopted(version: str = "1", generation: int = 1, **changes: Any) -> RolloutAdvanced:
    table = make_routing(make_route(version), generation=generation)
    return RolloutAdvanced(**{"state": "adopted", "summary": "", "routing": table, "at": MORNING, **changes})


def invent_history(rng: random.Random) -> list[Event]:
    """A day in the shop: two answers to each question, and most of what users may say of them."""
    events: list[Event] = []
    for number, (question, item) in enumerate((q, i) for q in QUESTIONS for i in ITEMS):
        one, other, user = 2 * number + 1, 2 * number + 2, f"user{number % 9}"
        text = question.format(item)
        events.append(asked(one, text, f"Please send us the order number of the {item}.", user=user))
        events.append(asked(other, text, f"I am only a model and know nothing of a {item}.", user=user))
        kind = rng.randrange(5)
        if kind == 0:
            events.append(chose(number, one, other, rng.choice([one, other]), user=user))
        elif kind == 1:
            events.append(said(number, other, Edit(text=f"I am sorry. Is it a {item} of this year?"), user=user))
        elif kind == 2:
            events.append(said(number, one, Thumb(value="up"), user=user))
            events.append(said(500 + number, other, Thumb(value="down"), user=user))
        elif kind == 3:
            events.append(said(number, other, Regenerate(replacement_interaction_id=UUID(int=one)), user=user))
        else:
            events.append(said(number, one, Thumb(value="up"), user=user))
            events.append(said(number, one, Thumb(value="down"), user=user))  # another body under the same id
    return events


def read_files(row: RetrainRequestRow, curator: Curator) -> dict[str, bytes]:
    folder = curator.settings.datasets / row.dataset_sha256
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
