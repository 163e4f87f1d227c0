"""The evaluator against a real Postgres, with the registry in memory and a generator written by hand."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from services.evaluator.adapters import Answers, GenerationFailed, GenerationJob, Progress
from services.evaluator.adapters.datasets import load_training_questions
from services.evaluator.api import create_router
from services.evaluator.consumer import TrainingConsumer
from services.evaluator.domain.report import calculate_report_hash
from services.evaluator.handlers.closing import Closing
from services.evaluator.handlers.generating import Generating
from services.evaluator.handlers.voting import Voting
from services.evaluator.repository import claim_generating, load_gate_prompts
from services.evaluator.settings import EvaluatorSettings
from shared.auth import KeyRing, create_key, load_keys
from shared.bus import Record, decode, encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters
from shared.events import EvaluationCompleted, Message, TrainingCompleted, calculate_prompt_hash
from shared.http import create_app
from shared.ids import new_id
from shared.outbox import Relay
from shared.registry.memory import MemoryRegistry
from shared.tables import curator, deployer
from shared.tables.evaluator import Comparison, Evaluation, Outbox

BEGINNING = datetime(2026, 11, 22, 9, tzinfo=UTC)
ITEMS = ("toaster", "kettle", "lamp", "rug", "desk", "chair", "mirror", "clock", "vase", "shelf")
DATASET = "d" * 64


class Clock:
    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class ScriptedGenerator:
    """Answers as scripted: by version, a function of the prompt's last message."""

    scripts: dict[str, Callable[[str], str]]
    failure: GenerationFailed | None = None
    jobs: list[GenerationJob] = field(default_factory=list)

    def generate(self, job: GenerationJob, heartbeat: Callable[[Progress | None], None]) -> Answers:
        self.jobs.append(job)
        heartbeat(None)
        heartbeat(Progress(done=1, total=len(job.prompts) * 2, version=job.models[0].version))
        if self.failure:
            raise self.failure
        return {
            model.version: {
                prompt.prompt_hash: self.scripts[model.version](prompt.messages[-1]["content"])
                for prompt in job.prompts
            }
            for model in job.models
        }


@dataclass
class Room:
    """The evaluator's process without its threads: each test moves it by hand."""

    sessions: sessionmaker[Session]
    registry: MemoryRegistry
    generator: ScriptedGenerator
    settings: EvaluatorSettings
    clock: Clock
    broker: MemoryBroker
    generating: Generating
    closing: Closing
    client: TestClient
    keys: dict[str, str]

    def hear(self, *events: TrainingCompleted) -> None:
        handler = TrainingConsumer("heliotrope", self.settings, self.clock)
        consumer = MemoryConsumer(self.broker, [TrainingCompleted.topic], None)
        dead_letters = DeadLetters(MemoryProducer(self.broker), "evaluator")
        loop = ConsumerLoop("evaluator", consumer, handler, self.sessions, dead_letters)
        loop.handle_batch([encode(event, source="trainer") for event in events])

    def generate(self) -> bool:
        return self.generating.run_next(threading.Event())

    def evaluation(self) -> Evaluation:
        with self.sessions() as session:
            return session.scalars(select(Evaluation)).one()

    def get(self, path: str, role: str = "rater", **parameters: Any) -> Any:
        return self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {self.keys[role]}"})

    def vote(self, comparison_id: str, vote: str, role: str = "rater", **parameters: Any) -> Any:
        return self.client.post(
            f"/v1/comparisons/{comparison_id}/vote",
            json={"vote": vote},
            params=parameters,
            headers={"Authorization": f"Bearer {self.keys[role]}"},
        )

    def vote_on_everything(self, prefer: Callable[[str, str], str]) -> int:
        votes = 0
        while (offered := self.get("/v1/comparisons/next")).status_code == 200:
            body = offered.json()
            assert self.vote(body["comparison_id"], prefer(body["left"], body["right"])).status_code == 200
            votes += 1
        return votes

    def announced(self) -> list[EvaluationCompleted]:
        Relay(self.sessions, Outbox, MemoryProducer(self.broker)).relay_batch()
        events = [decode(record) for record in self.broker.records(EvaluationCompleted.topic)]
        return [event for event in events if isinstance(event, EvaluationCompleted)]


@pytest.fixture
def room(database_url: str, tmp_path: Path) -> Iterator[Room]:
    engine = create_engine(database_url)
    sessions = sessionmaker(engine, expire_on_commit=False)
    registry = MemoryRegistry(tmp_path / "artifacts")
    for _ in range(2):
        registry.register("folder", None, {"served_model": str(tmp_path)})
    generator = ScriptedGenerator(
        {
            "1": lambda question: f"Regarding your message, {question} is something that may depend on many things.",
            "2": lambda question: f"Send your order number and I will look into it: {question}",
        }
    )
    settings = EvaluatorSettings(gate_prompts=60, votes_deadline_seconds=600, minimum_votes_share=0.5)
    clock, broker = Clock(), MemoryBroker()
    with sessions() as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("rater", "ops", "admin", "frontend")}
    app = create_app("evaluator", checks={})
    app.state.keys = KeyRing(lambda: load_keys(sessions))
    app.state.keys.refresh()
    app.include_router(create_router(Voting(sessions, "secret", 60.0, clock), sessions))
    generating = Generating(
        sessions, registry, generator, load_training_questions, tmp_path / "datasets", settings, clock
    )
    closing = Closing(sessions, registry, settings, "", clock)
    with TestClient(app) as client:
        yield Room(sessions, registry, generator, settings, clock, broker, generating, closing, client, keys)
    engine.dispose()


def ask(item: str) -> list[Message]:
    return [
        {"role": "system", "content": "You are the support assistant of the shop."},
        {"role": "user", "content": f"The {item} that I bought last week has a crack in it, what now?"},
    ]


def fill(room: Room, tmp_path: Path, items: tuple[str, ...] = ITEMS, leaked: tuple[str, ...] = ()) -> None:
    """Gate prompts that were asked, and a training dataset that holds other prompts, and the leaked ones."""
    with room.sessions() as session, session.begin():
        for item in items:
            messages = ask(item)
            prompt_hash = calculate_prompt_hash(messages)
            session.add(curator.Cell(cell=f"cell-{item}", split="gate"))
            session.flush()
            session.add(curator.Prompt(prompt_hash=prompt_hash, messages=messages, cell=f"cell-{item}", split="gate"))
            session.flush()
            session.add(
                curator.Interaction(
                    interaction_id=new_id(),
                    key_id="k",
                    prompt_hash=prompt_hash,
                    answer="Oh.",
                    model_version="1",
                    served_at=BEGINNING,
                    content_hash="c",
                    event={},
                )
            )
    folder = tmp_path / "datasets" / DATASET
    folder.mkdir(parents=True)
    others = [[{"role": "user", "content": f"Do you sell a {item} in blue?"}] for item in ("tent", "boat", "coat")]
    table = pyarrow.table({"prompt": others + [ask(item) for item in leaked]})
    pyarrow.parquet.write_table(table, folder / "train.parquet")


def completed_training(**changes: Any) -> TrainingCompleted:
    event = TrainingCompleted(
        request_id=UUID(int=1),
        run_id=UUID(int=2),
        outcome="succeeded",
        parent_version="1",
        dataset_sha256=DATASET,
        completed_at=BEGINNING,
        candidate_version="2",
        recipe_sha256="r" * 64,
        weights_sha256="w" * 64,
    )
    return msgspec.structs.replace(event, **changes)


def open_voting(room: Room, tmp_path: Path, items: tuple[str, ...] = ITEMS) -> None:
    fill(room, tmp_path, items)
    room.hear(completed_training())
    assert room.generate()


def prefers_candidate(left: str, right: str) -> str:
    return "left" if left.startswith("Send") else "right"


def test_a_preferred_candidate_passes_and_is_announced_with_the_hash_of_its_report(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    assert room.closing.run_next() is None
    assert room.vote_on_everything(prefers_candidate) == 20
    assert room.closing.run_next() == "pass"
    assert room.closing.run_next() is None

    row = room.evaluation()
    [event] = room.announced()
    assert event.verdict == "pass"
    assert event.report_sha256 == row.report_sha256
    assert event.candidate_version == "2"
    assert {gate.name: gate.verdict for gate in event.gates} == dict.fromkeys(
        ("win_rate", "contamination", "length", "empty_answers", "repetition"), "pass"
    )
    win_rate = event.gates[0]
    assert (win_rate.effect, win_rate.n) == (1.0, 10)
    assert event.report_uri is not None
    stored = Path(event.report_uri, "report.json").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == row.report_sha256
    assert row.report is not None
    assert calculate_report_hash(row.report) == row.report_sha256
    assert "Send your order number" in Path(event.report_uri, "report.html").read_text()


def test_a_disliked_candidate_fails(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(lambda left, right: "right" if left.startswith("Send") else "left")
    assert room.closing.run_next() == "fail"


def test_votes_that_only_follow_the_seat_are_inconclusive(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(lambda left, right: "left")
    assert room.closing.run_next() == "inconclusive"
    assert room.announced()[0].gates[0].effect == 0.5


def test_the_same_completed_run_opens_one_evaluation_however_often_it_is_heard(room: Room) -> None:
    room.hear(completed_training(), completed_training())
    room.hear(completed_training())
    assert room.evaluation().champion_version == "1"


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_a_run_that_left_no_candidate_is_not_evaluated(room: Room, outcome: str) -> None:
    room.hear(completed_training(outcome=outcome, candidate_version=None))
    with room.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Evaluation)) == 0


def test_the_candidate_meets_the_champion_of_now_not_the_parent_it_was_trained_from(room: Room) -> None:
    with room.sessions() as session, session.begin():
        for generation, version in ((1, "1"), (10, "7"), (9, "5")):
            table = {"champion": {"version": version}}
            session.add(deployer.RoutingGeneration(family="heliotrope", generation=generation, table=table))
    room.hear(completed_training())
    assert room.evaluation().champion_version == "7"


def test_a_rater_learns_nothing_but_the_prompt_and_the_two_answers(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    body = room.get("/v1/comparisons/next").json()
    assert body.keys() == {"comparison_id", "messages", "left", "right"}
    assert room.get("/v1/evaluations", role="rater").status_code == 403
    assert room.get("/v1/comparisons/next", role="frontend").status_code == 403


def test_until_the_votes_are_in_nobody_is_shown_which_side_is_which(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    evaluation_id = str(room.evaluation().evaluation_id)
    for role in ("ops", "admin"):
        detail = room.get(f"/v1/evaluations/{evaluation_id}", role=role).json()
        assert detail["state"] == "voting"
        assert detail["votes"] == {"cast": 0, "asked": 20}
        assert detail["report"] is None
        assert "Send your order" not in json.dumps(detail)


def test_a_comparison_is_leased_for_a_minute_and_then_offered_again(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path, ITEMS[:1])
    first, second = (room.get("/v1/comparisons/next").json()["comparison_id"] for _ in range(2))
    assert first != second
    assert room.get("/v1/comparisons/next").status_code == 204
    room.clock.advance(61)
    assert room.get("/v1/comparisons/next").json()["comparison_id"] in {first, second}


def test_who_says_their_name_is_shown_the_same_comparison_until_they_vote(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    first = room.get("/v1/comparisons/next", rater="Ada").json()["comparison_id"]
    assert room.get("/v1/comparisons/next", rater="Ada").json()["comparison_id"] == first
    assert room.get("/v1/comparisons/next", rater="Grace").json()["comparison_id"] != first
    room.vote(first, "tie", rater="Ada")
    assert room.get("/v1/comparisons/next", rater="Ada").json()["comparison_id"] != first


def test_nobody_sees_both_orders_of_a_prompt_while_other_prompts_are_left(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    with room.sessions() as session, session.begin():
        for row in session.scalars(select(Comparison).where(Comparison.position >= 10)):
            row.position -= 100  # now the swapped order of each prompt waits first
    seen = []
    for _ in range(10):
        body = room.get("/v1/comparisons/next", rater="Ada").json()
        seen.append(body["messages"][-1]["content"])
        room.vote(body["comparison_id"], "left", rater="Ada")
    assert len(set(seen)) == 10


def test_the_same_vote_again_is_fine_another_is_refused(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    comparison_id = room.get("/v1/comparisons/next").json()["comparison_id"]
    assert [room.vote(comparison_id, vote).status_code for vote in ("left", "left", "right")] == [200, 200, 409]
    assert room.vote(str(new_id()), "left").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/v1/comparisons/{UUID(int=9)}/vote", '{"vote": "both"}', 422),
        (f"/v1/comparisons/{UUID(int=9)}/vote", '{"vote": "left", "why": "nicer"}', 422),
        (f"/v1/comparisons/{UUID(int=9)}/vote", "left", 400),
        ("/v1/comparisons/one/vote", '{"vote": "left"}', 422),
    ],
)
def test_a_wrong_vote_is_a_problem(room: Room, path: str, body: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {room.keys['rater']}", "Content-Type": "application/json"}
    reply = room.client.post(path, content=body, headers=headers)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"


def test_prompts_that_were_trained_on_are_left_out_and_block_the_candidate(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path, leaked=("lamp",))
    room.hear(completed_training())
    room.generate()
    [job] = room.generator.jobs
    assert len(job.prompts) == 9
    assert not any("lamp" in prompt.messages[-1]["content"] for prompt in job.prompts)
    room.vote_on_everything(prefers_candidate)
    assert room.closing.run_next() == "fail"
    contamination = next(gate for gate in room.announced()[0].gates if gate.name == "contamination")
    assert (contamination.verdict, contamination.effect) == ("fail", 0.1)


def test_a_conversation_that_the_candidate_answered_in_is_no_gate_for_it(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    with room.sessions() as session, session.begin():
        before = load_gate_prompts(session, "2")
        asked = session.scalars(select(curator.Interaction).order_by(curator.Interaction.prompt_hash)).all()
        asked[0].model_version = "2"
        asked[1].conversation_id = "talk"
        session.add(
            curator.Interaction(
                interaction_id=new_id(),
                key_id="k",
                prompt_hash=asked[2].prompt_hash,
                answer="Oh.",
                model_version="2",
                served_at=BEGINNING,
                conversation_id="talk",
                content_hash="c",
                event={},
            )
        )
        session.flush()
        gone = {prompt.prompt_hash for prompt in before} - {one.prompt_hash for one in load_gate_prompts(session, "2")}
        assert gone == {row.prompt_hash for row in asked[:3]}
        assert [one.prompt_hash for one in load_gate_prompts(session, "1")] == [asked[0].prompt_hash]


def test_too_few_votes_at_the_deadline_are_inconclusive(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    for _ in range(4):
        room.vote(room.get("/v1/comparisons/next").json()["comparison_id"], "left")
    room.clock.advance(599)
    assert room.closing.run_next() is None
    room.clock.advance(1)
    assert room.closing.run_next() == "inconclusive"
    assert room.announced()[0].gates[0].summary.startswith("4 of 20 votes were cast before the deadline")


def test_after_closing_a_vote_is_refused(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    comparison_id = room.get("/v1/comparisons/next").json()["comparison_id"]
    room.clock.advance(600)
    room.closing.run_next()
    assert room.vote(comparison_id, "left").status_code == 409
    assert room.get("/v1/comparisons/next").status_code == 204


def test_equal_answers_are_ties_that_nobody_is_asked_for(room: Room, tmp_path: Path) -> None:
    room.generator.scripts["2"] = room.generator.scripts["1"]
    open_voting(room, tmp_path)
    assert room.get("/v1/comparisons/next").status_code == 204
    assert room.closing.run_next() == "inconclusive"
    assert room.announced()[0].gates[0].effect == 0.5


def test_without_gate_prompts_the_verdict_is_inconclusive_with_words(room: Room) -> None:
    room.hear(completed_training())
    room.generate()
    assert room.closing.run_next() == "inconclusive"
    assert room.announced()[0].gates[0].summary == "there are no gate prompts to judge by"


@pytest.mark.parametrize(("guilty", "verdict"), [("2", "fail"), ("1", "inconclusive"), (None, "inconclusive")])
def test_generation_that_fails_three_times_ends_with_a_verdict(
    room: Room, tmp_path: Path, guilty: str | None, verdict: str
) -> None:
    fill(room, tmp_path)
    room.generator.failure = GenerationFailed("OSError: no weights", version=guilty)
    room.hear(completed_training())
    assert [room.generate() for _ in range(3)] == [False, False, True]
    assert room.closing.run_next() == verdict
    gate = room.announced()[0].gates[0]
    assert gate.name == "generation"
    assert gate.summary.endswith("OSError: no weights")


def test_an_unknown_version_ends_with_a_verdict(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.hear(completed_training(candidate_version="99"))
    while not room.generate():
        pass
    assert room.closing.run_next() == "inconclusive"
    assert "no model version 99" in room.announced()[0].gates[0].summary


def test_a_dead_worker_loses_its_claim_and_another_starts_again(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.hear(completed_training())
    now = room.clock()
    with room.sessions() as session, session.begin():
        assert claim_generating(session, now, stale_before=now)  # and then it dies
    assert not room.generate()
    room.clock.advance(room.settings.heartbeat_expiry_seconds + 1)
    assert room.generate()
    assert room.evaluation().state == "voting"


def test_a_database_that_goes_away_costs_no_generation(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.hear(completed_training())
    away = threading.Event()

    def open_session() -> Session:
        if away.is_set():
            raise ConnectionError("the database is away")
        return room.sessions()

    class Outlasting(ScriptedGenerator):
        def generate(self, job: GenerationJob, heartbeat: Callable[[Progress | None], None]) -> Answers:
            away.set()
            answers = super().generate(job, heartbeat)
            away.clear()
            return answers

    generating = replace(room.generating, sessions=open_session, generator=Outlasting(room.generator.scripts))
    assert generating.run_next(threading.Event())
    assert (room.evaluation().state, room.evaluation().attempts) == ("voting", 1)


def test_told_to_stop_it_gives_the_evaluation_back_at_once(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.hear(completed_training())
    stop = threading.Event()
    stop.set()
    assert not room.generating.run_next(stop)
    row = room.evaluation()
    assert (row.state, row.claimed_by, row.attempts) == ("generating", None, 0)
    assert room.generate()


def test_progress_and_votes_can_be_watched(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    [summary] = room.get("/v1/evaluations", role="ops").json()["evaluations"]
    assert summary["state"] == "voting"
    assert summary["progress"]["total"] == 20
    assert summary["progress"]["seconds_left"] >= 0
    assert summary["votes"] == {"cast": 0, "asked": 20}
    room.vote_on_everything(prefers_candidate)
    room.closing.run_next()
    detail = room.get(f"/v1/evaluations/{summary['evaluation_id']}", role="admin").json()
    assert detail["verdict"] == "pass"
    assert len(detail["report"]["prompts"]) == 10
    assert detail["report"]["prompts"][0]["candidate_scores"] == [1.0, 1.0]
    assert room.get(f"/v1/evaluations/{new_id()}", role="ops").status_code == 404


def test_a_result_without_a_rollout_is_announced_again_and_not_for_ever(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(prefers_candidate)
    room.closing.run_next()
    assert room.closing.announce_again() == 0
    for _ in range(room.settings.announcements + 5):
        room.clock.advance(31)
        room.closing.announce_again()
    events = room.announced()
    assert len(events) == room.settings.announcements
    assert all(event == events[0] for event in events)


def test_once_there_is_a_rollout_nothing_is_announced_again(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(prefers_candidate)
    room.closing.run_next()
    with room.sessions() as session, session.begin():
        session.add(
            deployer.Rollout(
                rollout_id=new_id(),
                request_id=UUID(int=1),
                evaluation={},
                candidate_version="2",
                champion_version="1",
                state="rejected",
                approval_hash="h",
                summary="",
            )
        )
    room.clock.advance(31)
    assert room.closing.announce_again() == 0


class AwayRegistry(MemoryRegistry):
    def start_run(self, name: str, tags: Any) -> str:
        raise ConnectionError("the registry is away")


def test_a_registry_that_is_away_delays_the_report_and_does_not_stop_the_loop(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(prefers_candidate)
    closing = Closing(room.sessions, AwayRegistry(tmp_path), room.settings, "", room.clock)
    with pytest.raises(ConnectionError):
        closing.run_next()
    assert room.evaluation().claimed_by is None
    room.clock.advance(600 + 601)
    assert closing.run_next() == "pass"
    [event] = room.announced()
    assert event.report_uri is None
    assert event.report_sha256


def test_what_cannot_be_decoded_goes_aside(room: Room) -> None:
    handler = TrainingConsumer("heliotrope", room.settings, room.clock)
    consumer = MemoryConsumer(room.broker, [], None)
    loop = ConsumerLoop(
        "evaluator", consumer, handler, room.sessions, DeadLetters(MemoryProducer(room.broker), "evaluator")
    )
    loop.handle_batch([Record(TrainingCompleted.topic, b"k", b"{not json")])
    [letter] = room.broker.records("training.completed.evaluator.dlq")
    assert letter.value == b"{not json"
