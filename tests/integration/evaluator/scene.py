"""An evaluator on a real Postgres, with the registry and the bus in memory, moved by hand."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow
import pyarrow.parquet
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from services.evaluator.consumer import TrainingConsumer
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.rules import MarginRule, RatioRule, SafetyRule
from services.evaluator.domain.votes.win_rate import VotingPlan
from services.evaluator.handlers.completion import CompletionHandler
from services.evaluator.handlers.generation import GenerationHandler
from services.evaluator.ports import Generated, GenerationFailed, GenerationJob, Progress
from services.evaluator.settings import EvaluatorSettings
from shared.bus import decode, encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.conversation import calculate_prompt_hash
from shared.dead_letters import DeadLetters
from shared.events import EvaluationCompleted, Message, TrainingCompleted
from shared.ids import new_id
from shared.outbox import Relay
from shared.registry.memory import MemoryRegistry
from shared.tables import curator
from shared.tables.evaluator import Evaluation, Outbox

BEGINNING = datetime(2026, 11, 22, 9, tzinfo=UTC)
ITEMS = ("toaster", "kettle", "lamp", "rug", "desk", "chair", "mirror", "clock", "vase", "shelf")
DATASET = "d" * 64
RATERS = [f"rater {number}" for number in range(10)]
"""Each with a key of their own."""
RULE = MarginRule(margin=0.4, least=5)
POLICY = Policy(
    win_rate=VotingPlan(raters=10),
    length=RatioRule(least=5),
    empty_answers=RULE,
    repetition=RULE,
    refusals=RULE,
    language_switch=RULE,
    judge_talk=RULE,
    safety=SafetyRule(least=5),
)
"""Made for ten prompts and ten raters."""


def with_plan(**plan: Any) -> Policy:
    """The policy of these tests with another voting plan."""
    return msgspec.structs.replace(POLICY, win_rate=VotingPlan(**plan))


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

    def generate(self, job: GenerationJob, heartbeat: Callable[[Progress | None], None]) -> Generated:
        self.jobs.append(job)
        heartbeat(None)
        heartbeat(Progress(done=1, total=len(job.prompts) * 2, version=job.models[0].version))
        if self.failure:
            raise self.failure
        return Generated(
            {
                model.version: {
                    prompt.prompt_hash: self.scripts[model.version](prompt.messages[-1]["content"])
                    for prompt in job.prompts
                }
                for model in job.models
            }
        )


@dataclass
class Room:
    """The evaluator's process without its threads: each test moves it by hand."""

    sessions: sessionmaker[Session]
    registry: MemoryRegistry
    generator: ScriptedGenerator
    settings: EvaluatorSettings
    clock: Clock
    broker: MemoryBroker
    generation: GenerationHandler
    completion: CompletionHandler
    client: TestClient
    keys: dict[str, str]

    def hear(self, *events: TrainingCompleted) -> None:
        handler = TrainingConsumer("heliotrope", self.settings, self.clock)
        consumer = MemoryConsumer(self.broker, [TrainingCompleted.topic], None)
        dead_letters = DeadLetters(MemoryProducer(self.broker), "evaluator")
        loop = ConsumerLoop("evaluator", consumer, handler, self.sessions, dead_letters)
        loop.handle_batch([encode(event, source="trainer") for event in events])

    def generate(self) -> bool:
        return self.generation.run_next(threading.Event())

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

    def vote_on_everything(self, prefer: Callable[[str, str], str], raters: Sequence[str] = RATERS) -> int:
        """Let each rater judge the pile that is theirs."""
        votes = 0
        for rater in raters:
            while (offered := self.get("/v1/comparisons/next", role=rater)).status_code == 200:
                body = offered.json()
                cast = self.vote(body["comparison_id"], prefer(body["left"], body["right"]), role=rater)
                assert cast.status_code == 200
                votes += 1
        return votes

    def announced(self) -> list[EvaluationCompleted]:
        Relay(self.sessions, Outbox, MemoryProducer(self.broker)).relay_batch()
        events = [decode(record) for record in self.broker.records(EvaluationCompleted.topic)]
        return [event for event in events if isinstance(event, EvaluationCompleted)]


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
