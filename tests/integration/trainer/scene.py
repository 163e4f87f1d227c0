"""Builders for the trainer's integration tests: requests, runs, workers."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi.testclient import TestClient
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from services.trainer import repository
from services.trainer.adapters.artifacts.run_storage import RunStorage
from services.trainer.consumer import RetrainHandler
from services.trainer.domain.planning.scheduling import Patience
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Interrupted, Job, TrainingResult
from services.trainer.handlers.claim import Claim, claim_next
from services.trainer.handlers.completion import finish_run
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.sweeper import Sweeper
from services.trainer.ports import RunReporter, TrainingMethod
from shared.artifacts import Artifacts
from shared.auth import create_key
from shared.bus import Record, decode
from shared.errors import NotFound
from shared.events import Reason, RetrainRequested, TrainingCompleted
from shared.ids import new_id
from shared.registry.memory import MemoryRegistry
from shared.tables.trainer import Outbox, Run
from tests.builders import make_artifacts, make_recipe

Sessions = sessionmaker[Session]
TIMEOUT = timedelta(seconds=30)


def make_request(**changes: Any) -> RetrainRequested:
    now = datetime.now(UTC)
    content: dict[str, Any] = {
        "request_id": new_id(),
        "reasons": [Reason(kind="volume", summary="60 new pairs", value=60, threshold=50)],
        "dataset_sha256": "d" * 64,
        "dataset_uri": "/datasets/d",
        "parent_version": "1",
        "requested_at": now,
        "deadline_at": now + timedelta(minutes=30),
    }
    return RetrainRequested(**content | changes)


def load_recipe(name: str, **changes: Any) -> Recipe:
    if name not in ("support_bot", "careful_bot"):
        raise NotFound(f"no recipe {name!r}")
    return make_recipe(name=name, max_steps=4, **changes)


def request(sessions: Sessions, event: RetrainRequested, **changes: Any) -> Run:
    """Ask for a run; `changes` are of its recipe. Of several runs, the first recipe's."""
    handler = RetrainHandler(partial(load_recipe, **changes), "support_bot", "")
    with sessions() as session, session.begin():
        handler.prepare(session, [event])
        handler.handle(session, event)
        handler.finish(session, [event])
    with sessions() as session:
        first = select(Run).where(Run.request_id == event.request_id, Run.recipe_position == 0)
        return session.scalars(first).one()


def load_run(sessions: Sessions, run_id: UUID) -> Run:
    with sessions() as session:
        return repository.load_run(session, run_id)


def list_announced(sessions: Sessions) -> list[TrainingCompleted]:
    with sessions() as session:
        rows = session.scalars(select(Outbox).order_by(Outbox.sequence)).all()
    events = [decode(Record(row.topic, row.key, row.value)) for row in rows]
    assert all(isinstance(event, TrainingCompleted) for event in events)
    return events  # type: ignore[return-value]


def claim(sessions: Sessions, run_id: UUID, worker: str = "worker-1") -> Run | None:
    with sessions() as session, session.begin():
        return repository.claim_run(session, run_id, worker, TIMEOUT)


def claim_next_run(sessions: Sessions, device: str | None = None) -> Run | None:
    return claim_next(sessions, device, "worker-1", TIMEOUT)


def fall_silent(sessions: Sessions, run_id: UUID) -> None:
    """As if the worker had died a minute ago."""
    with sessions() as session, session.begin():
        minute_ago = func.now() - timedelta(minutes=1)
        session.execute(update(Run).where(Run.run_id == run_id).values(heartbeat_at=minute_ago))


def make_sweeper(sessions: Sessions, enqueue: Callable[[str | None], None]) -> Sweeper:
    return Sweeper(sessions, enqueue, Patience(timedelta(seconds=60), TIMEOUT), timedelta(seconds=30), "")


def refuse(device: str | None) -> None:
    raise ConnectionError("the queue is away")


def make_context(
    sessions: Sessions, folder: Path, train: TrainingMethod, artifacts: Artifacts | None = None
) -> WorkerContext:
    registry = MemoryRegistry(folder / "artifacts")
    registry.register("/models/base", None, {"served_model": "/models/base"})
    return WorkerContext(
        sessions=sessions,
        registry=registry,
        methods={"dpo": train},
        measure_kl=lambda job, points: dict.fromkeys(points, 0.25),
        runs_folder=folder / "runs",
        worker="worker-1",
        code_version="abc123",
        topic_prefix="",
        heartbeat_seconds=0.05,
        heartbeat_timeout=TIMEOUT,
        stop=threading.Event(),
        storage=RunStorage(artifacts or make_artifacts(folder / "models"), folder / "runs"),
    )


def train_quickly(job: Job, reporter: RunReporter) -> TrainingResult:
    """Steps without a model."""
    first = int(job.resume_from.name.removeprefix("checkpoint-")) if job.resume_from else 0
    for step in range(first + 1, job.recipe.steps + 1):
        reporter.on_step(step, job.recipe.steps)
        reporter.on_metrics(step, {"loss": 0.5, "rewards/margins": 0.3})
        checkpoint = job.checkpoints / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        reporter.on_checkpoint(checkpoint)
        if reporter.stopping:
            raise Interrupted(f"at step {step}")
    job.candidate.mkdir(parents=True)
    (job.candidate / "model.safetensors").write_bytes(b"weights")
    return TrainingResult(steps=job.recipe.steps - first, weights_sha256="w" * 64, summary="done", pairs=60, refused=0)


def stop_after_two_steps(job: Job, reporter: RunReporter) -> TrainingResult:
    for step in (1, 2):
        checkpoint = job.checkpoints / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        reporter.on_checkpoint(checkpoint)
    raise Interrupted("at step 2")


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(100):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("did not come true within 5 s")


def finish(sessions: Sessions, run: Run) -> None:
    with Claim(sessions, run.run_id, run.fencing_token, heartbeat_seconds=60).locked() as (session, held):
        finish_run(session, held, "succeeded", "done", topic_prefix="")


def make_header(sessions: Sessions, client: TestClient, role: str) -> dict[str, str]:
    with sessions() as session, session.begin():
        key = create_key(session, f"{role}-key", role)
    client.app.state.keys.refresh()  # type: ignore[attr-defined]
    return {"Authorization": f"Bearer {key}"}
