"""Erasing a user over HTTP, against a real Postgres: their words are nowhere afterwards, and do not come back."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from services.curator.api import create_router
from services.curator.consumer import CuratorConsumer
from services.curator.erasure_api import create_erasure_router
from services.curator.handlers.erasure import Eraser
from services.curator.handlers.retrain import request_retrain
from services.curator.review_api import create_review_router
from services.curator.settings import CuratorSettings
from shared.auth import KeyRing, create_key, load_keys
from shared.bus import encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters
from shared.events import (
    AnyFeedback,
    Choice,
    Edit,
    Event,
    FeedbackReceived,
    InteractionRecorded,
    Reason,
    RolloutAdvanced,
    Route,
    RoutingTable,
    Thumb,
)
from shared.http import create_app
from shared.ids import calculate_user_hash, new_id
from shared.settings import Settings
from shared.tables import trainer
from shared.tables.curator import Dataset, Feedback, Interaction, Pair, RetrainRequestRow
from shared.tables.erasures import Erasure
from shared.tables.quarantine import QuarantineDecision

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECRET = "a secret of sixteen"
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

    def hear(self, *events: Event) -> None:
        self.loop.handle_batch([encode(event, source="test") for event in events])

    def call(self, method: str, path: str, role: str = "admin", **options: Any) -> Any:
        return self.client.request(method, path, headers={"authorization": f"Bearer {self.keys[role]}"}, **options)

    def erase(self, user: str = "ines@shop", role: str = "admin") -> Any:
        return self.call("POST", "/v1/erasures", role, json={"user_id": user})

    def freeze(self) -> RetrainRequestRow:
        reasons = [Reason(kind="manual", words="the test asks")]
        with self.sessions() as session, session.begin():
            return request_retrain(
                session, settings=self.settings, curator=CuratorSettings(), reasons=reasons, now=NOON
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


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    engine = create_engine(database_url)
    sessions, settings, broker = sessionmaker(engine, expire_on_commit=False), Settings(home=tmp_path), MemoryBroker()
    letters = DeadLetters(MemoryProducer(broker), "curator")
    loop = ConsumerLoop(
        "curator", MemoryConsumer(broker, [], "g"), CuratorConsumer(), sessions, letters, savepoints=False
    )
    with sessions() as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("ops", "admin", "frontend")}
    app = create_app("curator", checks={})
    app.state.keys = KeyRing(lambda: load_keys(sessions))
    app.state.keys.refresh()
    eraser = Eraser(sessions, settings.datasets, timedelta(days=7), lambda: NOON)
    app.include_router(create_router(sessions))
    app.include_router(create_review_router(sessions, lambda: NOON))
    app.include_router(create_erasure_router(sessions, eraser, SECRET))
    with TestClient(app) as client:
        yield Curator(sessions, settings, client, keys, loop)
    engine.dispose()


def asked(number: int, question: str, answer: str, user: str | None) -> InteractionRecorded:
    return InteractionRecorded(
        interaction_id=UUID(int=number),
        messages=[{"role": "user", "content": question}],
        answer=answer,
        model_version="1",
        served_at=NOON,
        key_id="shop",
        user=user,
    )


def said(event: int, about: int, feedback: AnyFeedback, user: str | None) -> FeedbackReceived:
    return FeedbackReceived(
        event_id=UUID(int=100_000 + event),
        interaction_id=UUID(int=about),
        feedback=feedback,
        received_at=NOON + timedelta(minutes=event),
        key_id="shop",
        user=user,
    )


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
        order = [UUID(int=number), UUID(int=number + 1)]
        choice = Choice(other_interaction_id=order[1], presented_order=order, preferred_interaction_id=order[0])
        events.append(said(number, number, choice, user))
        edit = Edit(text=f"{other} {say()}")
        events.append(said(number + 1, number + 1, edit, user))
    return events


def adopted() -> RolloutAdvanced:
    champion = Route(version="1", model="1", base_url="http://127.0.0.1:1/v1")
    table = RoutingTable(generation=1, family="heliotrope", champion=champion, salt="s")
    return RolloutAdvanced(state="adopted", words="", routing=table, at=NOON)


def start(curator: Curator) -> tuple[list[Event], RetrainRequestRow]:
    """Ines and Tomas live, a dataset is frozen, a candidate is trained on it, and a child of that one."""
    ines = live(hashed("ines@shop"), 1, WORDS)
    parked = said(900, 5000, Edit(text=f"The {WORDS} is late."), hashed("ines@shop"))
    conflicting = said(1, 1, Edit(text=f"Another body of {WORDS}."), hashed("ines@shop"))
    curator.hear(adopted(), *ines, parked, conflicting, *live(hashed("tomas@shop"), 1001, "tomas"))
    request = curator.freeze()
    with curator.sessions() as session, session.begin():
        for parent, version, dataset in (("1", "2", request.dataset_sha256), ("2", "3", "another")):
            session.add(
                trainer.Run(
                    run_id=new_id(),
                    request_id=new_id(),
                    dataset_sha256=dataset,
                    dataset_uri="",
                    parent_version=parent,
                    recipe={},
                    recipe_sha256="",
                    state="succeeded",
                    candidate_version=version,
                    deadline_at=NOON,
                )
            )
    return [*ines, parked, conflicting], request


def test_an_erased_user_is_nowhere_and_does_not_come_back(curator: Curator) -> None:
    events, request = start(curator)
    assert len(curator.find_words()) >= 5
    answer = curator.erase()
    assert answer.status_code == 201
    assert curator.find_words() == []
    curator.hear(*events)
    curator.hear(*reversed(events))
    late = asked(7001, f"And the {WORDS}?", f"What {WORDS}?", hashed("ines@shop"))
    curator.hear(said(901, 7001, Edit(text=f"My {WORDS}!"), None))
    curator.hear(late)
    curator.hear(said(902, 7001, Edit(text=f"My {WORDS}!"), None))
    assert curator.find_words() == []
    with curator.sessions() as session:
        assert session.scalars(select(Interaction.user).distinct()).all() == [hashed("tomas@shop")]
        assert session.scalars(select(Feedback.user).distinct()).all() == [hashed("tomas@shop")]
    assert curator.freeze().dataset_sha256 != request.dataset_sha256


def test_the_certificate_says_what_was_done_and_which_models_knew_the_user(curator: Curator) -> None:
    _, request = start(curator)
    certificate = curator.erase().json()["certificate"]
    assert certificate["erased"]["interaction"] == 60
    [replaced] = certificate["datasets"]
    assert replaced["dataset_sha256"] == request.dataset_sha256
    assert certificate["models"] == [{"version": "2", "directly": True}, {"version": "3", "directly": False}]
    assert certificate["promotion_blocked"] == ["2"]
    assert certificate["raw_copies"]["until"] == (NOON + timedelta(days=7)).isoformat()
    with curator.sessions() as session:
        old = session.get_one(Dataset, request.dataset_sha256)
        new = session.get_one(Dataset, old.replaced_by)
        assert session.scalar(select(RetrainRequestRow.outcome)) == "dataset_erased"
    assert not Path(old.uri).exists()
    assert (Path(new.uri) / "manifest.json").exists()
    assert new.manifest["replaces"] == request.dataset_sha256
    assert set(new.manifest["pair_ids"]) == set(old.manifest["pair_ids"])
    assert new.manifest["pair_ids"]


def test_what_others_said_stays(curator: Curator) -> None:
    start(curator)
    with curator.sessions() as session:
        before = set(session.scalars(select(Pair.pair_id).where(Pair.chosen.contains("tomas"))))
    assert before
    curator.erase()
    with curator.sessions() as session:
        assert set(session.scalars(select(Pair.pair_id))) == before


def test_erasing_twice_gives_the_first_certificate_and_an_unknown_user_an_empty_one(curator: Curator) -> None:
    start(curator)
    first, second = curator.erase(), curator.erase()
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    stranger = curator.erase("nobody@shop")
    assert stranger.status_code == 201
    assert stranger.json()["certificate"]["erased"] == {}
    assert curator.call("GET", f"/v1/erasures/{first.json()['erasure_id']}").json() == first.json()
    assert len(curator.call("GET", "/v1/erasures").json()["erasures"]) == 2
    assert "ines" not in curator.call("GET", "/v1/erasures").text


def test_only_an_admin_erases_and_wrong_requests_are_answered_properly(curator: Curator) -> None:
    for role in ("ops", "frontend"):
        assert curator.erase(role=role).status_code == 403
        assert curator.call("GET", "/v1/erasures", role).status_code == 403
    assert curator.client.post("/v1/erasures", json={"user_id": "ines"}).status_code == 401
    for body in ({}, {"user_id": ""}, {"user_id": "a", "conversation_id": "b"}, {"user": "ines"}):
        answer = curator.call("POST", "/v1/erasures", json=body)
        assert answer.status_code == 422
        assert "ines" not in answer.text
    assert curator.call("GET", f"/v1/erasures/{UUID(int=9)}").status_code == 404
    assert curator.call("GET", "/v1/erasures/xyz").status_code == 422


def test_an_interrupted_erasure_is_finished_with_its_certificate(curator: Curator) -> None:
    start(curator)
    with curator.sessions() as session, session.begin():
        session.add(
            Erasure(
                erasure_id=new_id(), user=hashed("ines@shop"), state="running", requested_by="admin", requested_at=NOON
            )
        )
    Eraser(curator.sessions, curator.settings.datasets, timedelta(days=7), lambda: NOON).finish_running()
    assert curator.find_words() == []
    assert curator.erase().status_code == 200


def test_lineage_leads_nowhere_after_an_erasure(curator: Curator) -> None:
    start(curator)
    assert curator.call("GET", f"/v1/lineage/event/{UUID(int=100_001)}", "ops").status_code == 200
    curator.erase()
    assert curator.call("GET", f"/v1/lineage/event/{UUID(int=100_001)}", "ops").status_code == 404
    assert curator.call("GET", f"/v1/lineage/interaction/{UUID(int=1)}", "ops").status_code == 404


def test_parked_feedback_is_listed_with_what_it_waits_for(curator: Curator) -> None:
    curator.hear(said(1, 77, Thumb(value="up"), "ines"))
    found = curator.call("GET", "/v1/parked", "ops").json()
    assert (found["count"], found["parked"][0]["missing"]) == (1, [str(UUID(int=77))])
    assert curator.call("GET", "/v1/parked", "frontend").status_code == 403


def test_a_contested_pair_is_shown_with_both_sides_and_decided_by_an_admin(curator: Curator) -> None:
    one, other = "Send us the number of the lamp.", "I know nothing of a lamp, my friend."
    for number, user in ((1, "ines"), (3, "tomas")):
        curator.hear(asked(number, "My lamp?", one, user), asked(number + 1, "My lamp?", other, user))
        order = [UUID(int=number), UUID(int=number + 1)]
        preferred = order[number // 3]
        choice = Choice(other_interaction_id=order[1], presented_order=order, preferred_interaction_id=preferred)
        curator.hear(said(number, number, choice, user))
    [contested] = curator.call("GET", "/v1/contested", "ops").json()["contested"]
    assert {(side["chosen"], side["rejected"]) for side in contested["sides"]} == {(one, other), (other, one)}
    pair_id = contested["sides"][0]["pair_id"]
    path = f"/v1/quarantine/pair/{pair_id}/release"
    assert curator.call("POST", path, "ops").status_code == 403
    decided = curator.call("POST", path, json={"reason": "the first is right"}).json()
    assert (decided["decision"], decided["decided_by"], decided["subject_id"]) == ("release", "admin", pair_id)
    assert curator.call("POST", f"/v1/quarantine/pair/{pair_id}/reject").status_code == 200
    assert curator.call("GET", "/v1/quarantine/decisions", "ops").json()[0]["decision"] == "reject"
    with curator.sessions() as session:
        assert len(session.scalars(select(QuarantineDecision)).all()) == 2
    assert curator.call("POST", "/v1/quarantine/pair/unknown/release").status_code == 404
    assert curator.call("POST", f"/v1/quarantine/pair/{pair_id}/forget").status_code == 422
    assert curator.call("GET", "/v1/quarantine", "ops").json() == {"quarantined": []}
