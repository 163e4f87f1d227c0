"""The curator against a real Postgres: what arrives in any order becomes the same dataset."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import Session, sessionmaker

from services.curator.app.api import create_router
from services.curator.app.consumer import CuratorConsumer
from services.curator.app.handlers import Sweeper
from services.curator.config.settings import CuratorSettings
from services.curator.requests.api import create_loop_router
from services.curator.requests.handlers import request_retrain
from shared.auth import KeyRing, create_key, load_keys
from shared.bus import Record, decode, encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters, dead_letter_topic
from shared.errors import Conflict, InvalidRequest
from shared.events import (
    AnyFeedback,
    Choice,
    Edit,
    EvaluationCompleted,
    Event,
    FeedbackReceived,
    InteractionRecorded,
    Reason,
    Regenerate,
    RetrainRequested,
    RolloutAdvanced,
    Route,
    RoutingTable,
    Thumb,
    TrainingCompleted,
)
from shared.http import create_app
from shared.ids import new_id
from shared.settings import Settings
from shared.tables import trainer
from shared.tables.access import ApiKey
from shared.tables.curator import (
    ConflictingEvent,
    Dataset,
    Feedback,
    Interaction,
    Label,
    Outbox,
    Pair,
    Prompt,
    RetrainRequestRow,
    RoutingRow,
)

MORNING = datetime(2026, 11, 22, 9, tzinfo=UTC)
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
            return request_retrain(session, settings=self.settings, curator=self.own, reasons=MANUAL, now=now)

    def forget(self) -> None:
        """Empty the tables that hold evidence and what was made of it."""
        with self.sessions() as session, session.begin():
            for table in (Pair, Label, Feedback, ConflictingEvent, RetrainRequestRow, Dataset, Outbox):
                session.execute(delete(table))
            session.execute(delete(Interaction))

    def read(self, table: Any) -> list[Any]:
        with self.sessions() as session:
            return list(session.scalars(select(table)))


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    engine = create_engine(database_url)
    settings = Settings(home=tmp_path)
    yield Curator(sessionmaker(engine, expire_on_commit=False), settings, CuratorSettings())
    engine.dispose()


def asked(number: int, question: str, answer: str, *, user: str = "ines", version: str = "1") -> InteractionRecorded:
    return InteractionRecorded(
        interaction_id=UUID(int=number),
        messages=[{"role": "user", "content": question}],
        answer=answer,
        model_version=version,
        served_at=MORNING + timedelta(seconds=number),
        key_id="shop",
        user=user,
    )


def said(event: int, about: int, feedback: AnyFeedback, *, user: str | None = "ines") -> FeedbackReceived:
    return FeedbackReceived(
        event_id=UUID(int=100_000 + event),
        interaction_id=UUID(int=about),
        feedback=feedback,
        received_at=MORNING + timedelta(minutes=event % 7),
        key_id="shop",
        user=user,
    )


def chose(event: int, one: int, other: int, preferred: int, *, user: str = "ines") -> FeedbackReceived:
    order = [UUID(int=one), UUID(int=other)]
    choice = Choice(other_interaction_id=order[1], presented_order=order, preferred_interaction_id=UUID(int=preferred))
    return said(event, one, choice, user=user)


def adopted(version: str = "1", generation: int = 1, **changes: Any) -> RolloutAdvanced:
    champion = Route(version=version, model=version, base_url="http://127.0.0.1:18150/v1")
    table = RoutingTable(generation=generation, family="heliotrope", champion=champion, salt="s")
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


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_shuffled_repeated_and_rebatched_history_gives_the_same_bytes(curator: Curator, seed: int) -> None:
    rng = random.Random(seed)
    history = invent_history(rng)
    curator.hear(adopted(), *history)
    first = curator.retrain()
    files = read_files(first, curator)
    labels = sorted(label.label_id for label in curator.read(Label))
    curator.forget()
    curator.settings = curator.settings.model_copy(update={"datasets_dir": curator.settings.home / "again"})
    replayed = history + rng.sample(history, len(history) // 2)
    rng.shuffle(replayed)
    while replayed:
        size = rng.randint(1, 20)
        curator.hear(*replayed[:size])
        replayed = replayed[size:]
    again = curator.retrain()
    assert again.dataset_sha256 == first.dataset_sha256
    assert read_files(again, curator) == files
    assert sorted(label.label_id for label in curator.read(Label)) == labels


def test_a_dataset_holds_conversations_and_nothing_of_the_gate(curator: Curator) -> None:
    curator.hear(adopted(), *invent_history(random.Random(4)))
    row = curator.retrain()
    folder = curator.settings.datasets / row.dataset_sha256
    train = pyarrow.parquet.read_table(folder / "train.parquet").to_pylist()
    assert set(train[0]) == {"prompt", "chosen", "rejected", "epsilon", "rule", "rule_version", "pair_id"}
    assert train[0]["chosen"][0]["role"] == "assistant"
    with curator.sessions() as session:
        gate = session.scalars(select(Prompt.messages).where(Prompt.split == "gate")).all()
    assert gate
    frozen = [row["prompt"] for name in ("train", "validation", "labels", "sft") for row in read_rows(folder, name)]
    assert not [prompt for prompt in frozen if prompt in gate]


def read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


def test_feedback_is_parked_until_its_interactions_arrive(curator: Curator) -> None:
    one, other = asked(1, "Where is it?", "On its way to you."), asked(2, "Where is it?", "No idea at all, sorry.")
    curator.hear(chose(1, 1, 2, 1))
    curator.hear(one)
    assert [row.state for row in curator.read(Feedback)] == ["parked"]
    curator.hear(other)
    assert [row.state for row in curator.read(Feedback)] == ["attached"]
    assert [(pair.rule, pair.state) for pair in curator.read(Pair)] == [("choice", "active")]


def test_parked_feedback_expires_in_event_time_and_still_attaches(curator: Curator) -> None:
    old = said(1, 1, Thumb(value="up"))
    curator.hear(old, msgspec.structs.replace(said(2, 9, Thumb(value="up")), received_at=MORNING + timedelta(days=40)))
    Sweeper(curator.sessions, curator.own, "", lambda: MORNING).sweep()
    assert {row.event_id.int - 100_000: row.state for row in curator.read(Feedback)} == {1: "expired", 2: "parked"}
    curator.hear(asked(1, "Where is it?", "On its way to you."))
    assert len(curator.read(Label)) == 1


def test_a_duplicate_keeps_the_earliest_reception_and_a_conflict_the_smaller_hash(curator: Curator) -> None:
    event = said(1, 1, Thumb(value="up"))
    other = said(1, 1, Thumb(value="down"))
    curator.hear(asked(1, "Where is it?", "On its way to you."), event)
    curator.hear(msgspec.structs.replace(event, received_at=MORNING - timedelta(hours=1)))
    assert curator.read(Feedback)[0].received_at == MORNING - timedelta(hours=1)
    curator.hear(other)
    kept = {row.event["feedback"]["value"] for row in [*curator.read(Feedback), *curator.read(ConflictingEvent)]}
    assert kept == {"up", "down"}


def test_one_request_is_open_until_its_rollout_is_over(curator: Curator) -> None:
    with pytest.raises(Conflict):
        curator.retrain()
    curator.hear(adopted())
    with pytest.raises(InvalidRequest):
        curator.retrain()
    curator.hear(*invent_history(random.Random(5)))
    row = curator.retrain()
    with pytest.raises(Conflict):
        curator.retrain()
    changes = {"state": "champion", "request_id": row.request_id, "candidate_version": "2"}
    curator.hear(adopted("2", 2, at=MORNING + timedelta(hours=1), **changes))
    closed = curator.read(RetrainRequestRow)[0]
    assert (closed.state, closed.outcome, closed.candidate_version) == ("closed", "champion", "2")
    routing = curator.read(RoutingRow)[0]
    assert (routing.champion_version, routing.champion_since) == ("2", MORNING + timedelta(hours=1))
    curator.hear(adopted())
    assert curator.read(RoutingRow)[0].champion_version == "2"


def test_a_failed_run_and_a_failed_gate_close_their_requests(curator: Curator) -> None:
    curator.hear(adopted(), *invent_history(random.Random(6)))
    row = curator.retrain()
    run = TrainingCompleted(
        request_id=row.request_id,
        run_id=new_id(),
        outcome="failed",
        parent_version="1",
        dataset_sha256=row.dataset_sha256,
        completed_at=MORNING,
    )
    curator.hear(run)
    row = curator.retrain()
    verdict = EvaluationCompleted(
        request_id=row.request_id,
        evaluation_id=new_id(),
        run_id=new_id(),
        candidate_version="2",
        champion_version="1",
        verdict="inconclusive",
        gates=[],
        report_sha256="",
        completed_at=MORNING,
    )
    curator.hear(verdict)
    assert {request.outcome for request in curator.read(RetrainRequestRow)} == {
        "training_failed",
        "evaluation_inconclusive",
    }


def test_a_request_is_announced_again_and_closed_at_its_deadline(curator: Curator) -> None:
    curator.hear(adopted(), *invent_history(random.Random(7)))
    row = curator.retrain()
    Sweeper(curator.sessions, curator.own, "", lambda: MORNING + timedelta(minutes=1)).sweep()
    letters = [decode(Record(item.topic, item.key, item.value)) for item in curator.read(Outbox)]
    assert letters[0] == letters[1]
    assert isinstance(letters[0], RetrainRequested)
    assert letters[0].requested_by == "monitor"
    assert letters[0].dataset_sha256 == row.dataset_sha256
    Sweeper(curator.sessions, curator.own, "", lambda: MORNING + timedelta(days=2)).sweep()
    assert curator.read(RetrainRequestRow)[0].outcome == "deadline"


@dataclass(frozen=True)
class Caller:
    client: TestClient
    keys: dict[str, str]

    def get(self, path: str, role: str = "ops") -> Any:
        return self.client.get(path, headers={"authorization": f"Bearer {self.keys[role]}"})

    def post(self, path: str, role: str = "admin") -> Any:
        return self.client.post(path, headers={"authorization": f"Bearer {self.keys[role]}"})


@pytest.fixture
def caller(curator: Curator) -> Iterator[Caller]:
    with curator.sessions() as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("ops", "admin", "frontend")}
    app = create_app("curator", checks={})
    app.state.keys = KeyRing(lambda: load_keys(curator.sessions))
    app.state.keys.refresh()
    app.include_router(create_router(curator.sessions))
    app.include_router(create_loop_router(curator.sessions, curator.settings, curator.own, lambda: MORNING))
    with TestClient(app) as client:
        yield Caller(client, keys)


def test_reading_takes_ops_and_acting_takes_an_admin(caller: Caller) -> None:
    for path in ("/v1/pairs", "/v1/datasets", "/v1/requests", "/v1/summary"):
        assert caller.get(path).status_code == 200
        assert caller.get(path, "frontend").status_code == 403
    for path in ("/v1/retrain", "/v1/pause", "/v1/resume"):
        assert caller.post(path, "ops").status_code == 403


def test_a_paused_loop_asks_for_nothing(caller: Caller, curator: Curator) -> None:
    curator.hear(adopted(), *invent_history(random.Random(8)))
    assert caller.post("/v1/pause").json() == {"paused": True}
    assert caller.post("/v1/retrain").status_code == 409
    assert caller.post("/v1/resume").json() == {"paused": False}
    assert caller.post("/v1/retrain").status_code == 202
    [asked_for] = caller.get("/v1/requests").json()["requests"]
    assert (asked_for["state"], asked_for["requested_by"]) == ("open", "key:admin")


def test_lineage_leads_from_a_click_to_the_answers_it_led_to_and_back(caller: Caller, curator: Curator) -> None:
    curator.hear(adopted(), *invent_history(random.Random(9)))
    row = curator.retrain()
    save_run(curator, row, "2")
    curator.hear(asked(9001, "And now?", "Please send us a photo.", version="2"))
    pair_id = caller.get(f"/v1/datasets/{row.dataset_sha256}").json()["manifest"]["pair_ids"][0]
    click = caller.get(f"/v1/lineage/pair/{pair_id}").json()["events"][0]
    ahead = caller.get(f"/v1/lineage/event/{click}").json()
    assert (ahead["datasets"], ahead["versions"]) == ([row.dataset_sha256], ["2"])
    assert ahead["served"] == [str(UUID(int=9001))]
    back = caller.get(f"/v1/lineage/interaction/{UUID(int=9001)}").json()
    assert click in back["events"]
    assert pair_id in back["pairs"]
    assert caller.get("/v1/lineage/version/2").json()["datasets"] == [row.dataset_sha256]
    assert caller.get("/v1/lineage/version/99").status_code == 404
    assert caller.get("/v1/lineage/event/xyz").status_code == 422


def save_run(curator: Curator, row: RetrainRequestRow, version: str) -> None:
    run = trainer.Run(
        run_id=new_id(),
        request_id=row.request_id,
        dataset_sha256=row.dataset_sha256,
        dataset_uri="",
        parent_version="1",
        recipe={},
        recipe_sha256="",
        state="succeeded",
        candidate_version=version,
        deadline_at=MORNING,
    )
    with curator.sessions() as session, session.begin():
        session.add(run)


def test_pairs_are_found_by_their_filters_and_counted(caller: Caller, curator: Curator) -> None:
    curator.hear(asked(1, "Where is it?", "On its way to you."), asked(2, "Where is it?", "No idea at all, sorry."))
    curator.hear(chose(1, 1, 2, 1))
    found = caller.get(f"/v1/pairs?interaction_id={UUID(int=2)}&rule=choice&state=active").json()["pairs"]
    assert [pair["chosen"] for pair in found] == ["On its way to you."]
    assert caller.get(f"/v1/pairs?interaction_id={UUID(int=3)}").json()["pairs"] == []
    summary = caller.get("/v1/summary").json()
    assert summary["interactions"] == 2
    assert summary["events"] == {"choice": 1}
    assert summary["pairs"]["by_rule"] == {"choice": 1}
    assert summary["pairs"]["by_rule_and_split"] == {"choice": summary["pairs"]["by_split"]}


def test_pages_of_pairs_hold_each_pair_once_newest_first(caller: Caller, curator: Curator) -> None:
    history = invent_history(random.Random(10))
    for start in range(0, len(history), 40):
        curator.hear(*history[start : start + 40])
    everything = [pair["pair_id"] for pair in caller.get("/v1/pairs?limit=1000").json()["pairs"]]
    assert len(everything) > 20
    found, page = [], caller.get("/v1/pairs?limit=7").json()
    while page["next_cursor"] is not None:
        found += [pair["pair_id"] for pair in page["pairs"]]
        page = caller.get(f"/v1/pairs?limit=7&after={page['next_cursor']}").json()
    assert found + [pair["pair_id"] for pair in page["pairs"]] == everything
    assert caller.get(f"/v1/pairs?limit={len(everything)}").json()["next_cursor"] is None
    chosen = caller.get("/v1/pairs?limit=2&rule=edit").json()
    following = caller.get(f"/v1/pairs?limit=2&rule=edit&after={chosen['next_cursor']}").json()
    assert {pair["rule"] for pair in following["pairs"]} == {"edit"}


@pytest.mark.parametrize(
    "cursor", ["", "x", "bm90IGEgY3Vyc29y", "MjAyNi0wMS0wMVQwMDowMDowMCBhYmM", "\u00e9\u00e9", "a" * 501]
)
def test_a_cursor_of_somebodys_own_making_is_refused_by_name(caller: Caller, cursor: str) -> None:
    answer = caller.get(f"/v1/pairs?after={cursor}")
    assert answer.status_code == 422
    assert "after" in json.dumps(answer.json()["errors"])


def test_two_keys_that_use_one_event_id_do_not_swallow_each_other(curator: Curator) -> None:
    texts = ("On its way to you.", "No idea at all, sorry.")
    histories = []
    for key_id, question, first in (("b0", "Where is it?", 1), ("a0", "Is it here?", 3)):
        served = [asked(first + at, question, text) for at, text in enumerate(texts)]
        event = msgspec.structs.replace(chose(1, first, first + 1, first), key_id=key_id)
        histories.append([*served, event])
    curator.hear(adopted(), *histories[0])
    curator.hear(*histories[1])
    curator.hear(*histories[0], *histories[1])
    stored = {row.key_id: row for row in curator.read(Feedback)}
    assert {row.event["event_id"] for row in stored.values()} == {str(UUID(int=100_001))}
    assert stored["a0"].event_id == UUID(int=100_001)
    assert curator.read(ConflictingEvent) == []
    pairs = {pair.pair_id: pair.evidence for pair in curator.read(Pair)}
    assert sorted(pairs.values()) == sorted([[row.event_id] for row in stored.values()])
    curator.forget()
    curator.hear(*histories[1], *histories[0])
    assert {pair.pair_id: pair.evidence for pair in curator.read(Pair)} == pairs


def test_lineage_of_an_id_that_two_keys_used_shows_both(caller: Caller, curator: Curator) -> None:
    with curator.sessions() as session:
        keys = sorted(session.scalars(select(ApiKey.key_id)))[:2]
    for key_id, first in zip(keys, (1, 3), strict=True):
        curator.hear(
            asked(first, f"Where is {first}?", "On its way to you."),
            asked(first + 1, f"Where is {first}?", "No idea, sorry."),
        )
        curator.hear(msgspec.structs.replace(chose(1, first, first + 1, first), key_id=key_id))
    assert len(caller.get(f"/v1/lineage/event/{UUID(int=100_001)}").json()["pairs"]) == 2


def test_what_an_app_says_without_a_user_is_its_users_word(curator: Curator) -> None:
    curator.hear(asked(1, "Where is it?", "On its way to you."), asked(2, "Where is it?", "No idea at all, sorry."))
    curator.hear(said(1, 1, Thumb(value="up"), user=None), said(2, 2, Thumb(value="down"), user=None))
    assert [pair.rule for pair in curator.read(Pair)] == ["same_user_contrast"]
