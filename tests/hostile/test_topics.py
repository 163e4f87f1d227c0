"""What lies in a topic, whoever wrote it: handled or put aside, once, and its neighbours are stored."""

import json
import time
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from services.curator.app.consumer import CuratorConsumer
from shared.bus import Record, encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters
from shared.events import Comment, Edit, FeedbackReceived, InteractionRecorded, Thumb
from shared.ids import new_id
from shared.tables.curator import Interaction
from tests.builders import make_choice, make_feedback, make_id, make_interaction
from tests.hostile.fuzzing import damaged_bytes, fuzz
from tests.integration.conftest import sessions

__all__ = ["sessions"]

pytestmark = pytest.mark.hostile

BATCH_SECONDS = 15.0
TOPICS = [InteractionRecorded.topic, FeedbackReceived.topic]
MESSAGES = [
    {"role": "user", "content": "Where is my lamp?"},
    {"role": "assistant", "content": "Which lamp?"},
    {"role": "user", "content": [{"type": "text", "text": "The green one."}]},
]
KNOWN = [make_id(number) for number in (1, 2, 3, 4, 6)]
EVENTS = [
    make_interaction(1, messages=MESSAGES, user="ada", metadata={"page": "cart"}),
    make_feedback(2, 1, Thumb(value="down"), user="ada"),
    make_feedback(3, 1, Edit(text="Your lamp will be there tomorrow."), user="ada"),
    make_feedback(4, 1, make_choice(1, 5), user="ada"),
    make_feedback(6, 1, Comment(text="thanks"), user="ada"),
]


def test_a_batch_with_poison_in_it_is_handled_and_its_neighbours_are_stored(sessions: "sessionmaker[Session]"):
    broker = MemoryBroker(partitions=1)
    consumer = MemoryConsumer(broker, TOPICS, "curator")
    letters = DeadLetters(MemoryProducer(broker), "curator")
    loop = ConsumerLoop("curator", consumer, CuratorConsumer(), sessions, letters)
    neighbours: list[UUID] = []

    def check(content: bytes) -> None:
        for known in KNOWN:  # of an id that is known, another body is a conflict, and its content is never stored
            content = content.replace(str(known).encode(), str(new_id()).encode())
        neighbours.append(new_id())
        neighbour = encode(make_interaction(neighbours[-1], f"Where is order {len(neighbours)}?"), source="tests")
        for topic in TOPICS:
            broker.append(Record(topic, b"key", content, {"ce_type": f"heliotrope.{topic}"}))
            broker.append(neighbour)
        started = time.monotonic()
        while records := consumer.poll(0):
            loop.handle_batch(records)
        assert time.monotonic() - started < BATCH_SECONDS

    valid: list[Any] = [json.loads(encode(event, source="tests").value) for event in EVENTS]
    assert fuzz(damaged_bytes(*valid), check)
    with sessions() as session:
        stored = session.scalar(select(func.count()).where(Interaction.interaction_id.in_(neighbours)))
    assert stored == len(neighbours)
