"""Snapshots through the real handlers and Postgres: any order, batching and crash; one consistent state; quarantine."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session, sessionmaker

from services.curator.app.consumer import CuratorConsumer
from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import freeze_dataset
from services.curator.weighing.repository import list_quarantined, save_quarantine_decision
from shared.bus import encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters
from shared.errors import InvalidRequest
from shared.events import AnyEvent, InteractionRecorded
from shared.tables.curator import Dataset
from tests.builders import EMBEDDER, NOON, make_artifacts, make_choice, make_feedback, make_interaction
from tests.histories import Occurrence, histories

WORDS = [
    "where",
    "is",
    "my",
    "kettle",
    "lamp",
    "radio",
    "desk",
    "order",
    "broke",
    "late",
    "refund",
    "courier",
    "friday",
    "address",
    "shelf",
    "clock",
    "rug",
    "fan",
    "vase",
]
CAPS = Caps(per_user=6, per_prompt=8)


class Killed(ConnectionError):
    """The process died: its transaction is gone, its offsets were not committed."""


class DyingConsumer(CuratorConsumer):
    """Does all of its work on a batch, and dies before the commit."""

    def finish(self, session: Session, events: list[AnyEvent]) -> None:
        super().finish(session, events)
        raise Killed


class Shop:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sessions = sessionmaker(engine, expire_on_commit=False)

    def hear(self, batch: list[Occurrence], handler: CuratorConsumer | None = None) -> None:
        broker = MemoryBroker()
        consumer = MemoryConsumer(broker, [], "curator")
        dead = DeadLetters(MemoryProducer(broker), "curator")
        loop = ConsumerLoop("curator", consumer, handler or CuratorConsumer(), self.sessions, dead)
        loop.handle_batch([encode(one, source="test") for one in batch])

    def freeze(self, folder: Path) -> dict[str, bytes] | None:
        """Every file of the dataset; None when there is nothing to train on."""
        with self.sessions() as session, session.begin():
            try:
                row = freeze_dataset(
                    session, folder, make_artifacts(folder), CAPS, embedder=EMBEDDER, parent_version="1", now=NOON
                )
            except InvalidRequest:
                return None
            made = Path(row.uri)
        return {str(file.relative_to(made)): file.read_bytes() for file in made.rglob("*") if file.is_file()}

    def forget(self) -> None:
        tables = "interactions, feedback, conflicting_events, pairs, labels, datasets, dataset_items, frozen_items"
        names = ", ".join(f"curator.{name}" for name in [*tables.split(", "), "prompts", "quarantined"])
        with self.engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {names} CASCADE"))


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    engine = create_engine(database_url)
    yield Shop(engine)
    engine.dispose()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large])
@given(histories(most=40), st.data())
def test_any_order_batching_and_crash_gives_the_same_bytes(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, history: list[Occurrence], data: st.DataObject
) -> None:
    shop.forget()
    shop.hear(history)
    first = shop.freeze(tmp_path_factory.mktemp("first"))
    shop.forget()
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=6)) if history else []
    for batch in _cut(data.draw(st.permutations(history + repeated)), data):
        crash = data.draw(st.sampled_from(["never", "before the commit", "before the offsets"]))
        if crash == "before the commit":
            with pytest.raises(Killed):
                shop.hear(batch, DyingConsumer())
        if crash == "before the offsets":
            shop.hear(batch)
        shop.hear(batch)
    assert shop.freeze(tmp_path_factory.mktemp("second")) == first


def _cut(events: list[Occurrence], data: st.DataObject) -> Iterator[list[Occurrence]]:
    while events:
        size = data.draw(st.integers(1, 20))
        yield events[:size]
        events = events[size:]


def served(number: int, prompt: int, answer: str, user: str) -> InteractionRecorded:
    return make_interaction(number, " ".join(Random(prompt).sample(WORDS, 9)), answer, user=user)


def ask_and_choose(number: int, user: str, *, minute: int = 0) -> list[Occurrence]:
    one, other = 10 * number + 1, 10 * number + 2
    return [
        served(one, number, "Nothing is wrong, it comes on Friday.", user),
        served(other, number, "I am only a model and cannot know.", user),
        make_feedback(
            10 * number + 3,
            one,
            make_choice(one, other),
            received_at=NOON + timedelta(minutes=minute),
            user=user,
        ),
    ]


def test_a_snapshot_sees_one_state_whatever_is_written_meanwhile(shop: Shop, tmp_path: Path) -> None:
    for number in range(30):
        shop.hear(ask_and_choose(number, f"user{number}"))
    quiet = shop.freeze(tmp_path / "quiet")
    assert quiet is not None
    late: list[Occurrence] = [one for number in range(30, 60) for one in ask_and_choose(number, f"user{number}")]

    def write_meanwhile(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "curator.pairs" in statement and "yield" not in written:
            written.append("yield")
            Shop(shop.engine).hear(late)

    written: list[str] = []
    with shop.sessions() as session, session.begin():
        session.query(Dataset).delete()
    event.listen(shop.engine, "after_cursor_execute", write_meanwhile)
    try:
        disturbed = shop.freeze(tmp_path / "disturbed")
    finally:
        event.remove(shop.engine, "after_cursor_execute", write_meanwhile)
    assert written
    assert disturbed == quiet


@pytest.fixture
def robot(shop: Shop) -> Shop:
    """Twenty people, and one who made forty choices within a minute."""
    for number in range(20):
        shop.hear(ask_and_choose(number, f"user{number}", minute=number))
    shop.hear([one for number in range(100, 140) for one in ask_and_choose(number, "robot")])
    return shop


def count_rows(shop: Shop, folder: Path, decide: Callable[[Session], object] | None = None) -> int:
    with shop.sessions() as session, session.begin():
        if decide:
            decide(session)
    with shop.sessions() as session, session.begin():
        row = freeze_dataset(
            session, folder, make_artifacts(folder), Caps(200, 20), embedder=EMBEDDER, parent_version="1", now=NOON
        )
        return int(row.manifest["counts"]["train"]) + int(row.manifest["counts"]["validation"])


def decide(decision: str) -> Callable[[Session], object]:
    return lambda session: save_quarantine_decision(
        session,
        subject_kind="user",
        subject_id="robot",
        decision=decision,
        decided_by="ines",
        reason="it is our own test",
        now=NOON,
    )


def test_a_burst_stays_out_until_a_person_releases_it(robot: Shop, tmp_path: Path) -> None:
    kept = count_rows(robot, tmp_path)
    with robot.sessions() as session:
        waiting = list_quarantined(session)
    assert [(one.subject_kind, one.subject_id, one.reason) for one in waiting] == [("user", "robot", "burst")]
    assert waiting[0].detail["events"]["burst"]
    released = count_rows(robot, tmp_path, decide("release"))
    assert released > kept
    assert count_rows(robot, tmp_path, decide("reject")) == kept
    with robot.sessions() as session:
        assert list_quarantined(session) == []
