"""The curator against a real Postgres: what arrives in any order becomes the same dataset."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow.parquet
import pytest
from sqlalchemy import select

from services.curator.app.handlers import Sweeper
from shared.bus import Record, decode
from shared.conversation import drop_nulls
from shared.errors import Conflict, InvalidRequest
from shared.events import EvaluationCompleted, RetrainRequested, Thumb, TrainingCompleted
from shared.ids import new_id
from shared.tables.curator import ConflictingEvent, Feedback, Label, Outbox, Pair, Prompt, RetrainRequestRow, RoutingRow
from tests.builders import MORNING
from tests.integration.curator.shop import (
    Curator,
    adopted,
    asked,
    chose,
    invent_history,
    open_curator,
    read_files,
    said,
)


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path) as curator:
        yield curator


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
    assert set(train[0]) == {"prompt", "tools", "chosen", "rejected", "epsilon", "rule", "rule_version", "pair_id"}
    assert train[0]["chosen"][0]["role"] == "assistant"
    with curator.sessions() as session:
        gate = session.scalars(select(Prompt.messages).where(Prompt.split == "gate")).all()
    assert gate
    rows = [row for name in ("train", "validation", "labels", "sft") for row in read_rows(folder, name)]
    frozen = [drop_nulls(row["prompt"]) for row in rows]
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


def test_what_an_app_says_without_a_user_is_its_users_word(curator: Curator) -> None:
    curator.hear(asked(1, "Where is it?", "On its way to you."), asked(2, "Where is it?", "No idea at all, sorry."))
    curator.hear(said(1, 1, Thumb(value="up"), user=None), said(2, 2, Thumb(value="down"), user=None))
    assert [pair.rule for pair in curator.read(Pair)] == ["same_user_contrast"]
