"""The trainer's runs in a real Postgres: requested, claimed, swept, cancelled, carried out."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from services.trainer import repository
from services.trainer.adapters.artifacts.checkpoints import mark_complete
from services.trainer.api import make_router
from services.trainer.consumer import RetrainHandler
from services.trainer.domain.planning.scheduling import Patience
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Interrupted, Job, Trained, TrainingFailed
from services.trainer.handlers.claim import Claim, claim_next
from services.trainer.handlers.completion import finish_run
from services.trainer.handlers.execution import Workplace, carry_out
from services.trainer.handlers.replay import load_snapshots
from services.trainer.handlers.sweeper import Sweeper
from services.trainer.ports import Mirror, Train, Watch
from shared.auth import KeyRing, create_key, load_keys
from shared.bus import Record, decode
from shared.db import connect, is_transient
from shared.errors import NotFound, StaleClaim
from shared.events import Reason, RetrainRequested, TrainingCompleted
from shared.http import create_app
from shared.ids import new_id
from shared.registry.memory import MemoryRegistry
from shared.settings import Settings
from shared.tables.curator import Dataset, LoopSwitch
from shared.tables.trainer import Outbox, Run

Sessions = sessionmaker[Session]
TIMEOUT = timedelta(seconds=30)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    return sessionmaker(engine, expire_on_commit=False)


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


def load_recipe(name: str) -> Recipe:
    if name != "support_bot":
        raise NotFound(f"no recipe {name!r}")
    return parse_recipe({"name": name, "method": "dpo", "max_steps": 4})


def request(sessions: Sessions, event: RetrainRequested) -> Run:
    handler = RetrainHandler(load_recipe, "support_bot", "")
    with sessions() as session, session.begin():
        handler.prepare(session, [event])
        handler.handle(session, event)
        handler.finish(session, [event])
    with sessions() as session:
        return session.scalars(select(Run).where(Run.request_id == event.request_id)).one()


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


# --- requests


def test_a_request_makes_one_run_however_often_it_comes(sessions: Sessions):
    event = make_request()
    run = request(sessions, event)
    assert request(sessions, event).run_id == run.run_id
    assert (run.state, run.recipe["max_steps"], run.parent_version) == ("queued", 4, "1")
    assert list_announced(sessions) == []


def test_a_recipe_that_cannot_be_used_fails_the_run_and_says_why(sessions: Sessions):
    event = make_request(recipe="magic")
    for _ in range(2):
        assert request(sessions, event).state == "failed"
    [announced] = list_announced(sessions)
    assert (announced.outcome, announced.request_id) == ("failed", event.request_id)
    assert announced.reason == "recipe 'magic' cannot be used: no recipe 'magic'"


def test_a_recipe_whose_outcome_cannot_chat_fails_the_run(sessions: Sessions):
    handler = RetrainHandler(lambda name: parse_recipe({"name": name, "method": "reward", "max_steps": 4}), "taste", "")
    event = make_request()
    with sessions() as session, session.begin():
        handler.handle(session, event)
    [announced] = list_announced(sessions)
    assert announced.reason == "recipe 'taste' cannot be used: it trains no chat model (reward)"


# --- claims


def test_of_two_workers_one_gets_the_run(sessions: Sessions):
    run = request(sessions, make_request())
    claimed: list[Run | None] = []
    threads = [
        threading.Thread(target=lambda name=name: claimed.append(claim(sessions, run.run_id, name))) for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [held] = [taken for taken in claimed if taken]
    assert (held.state, held.fencing_token) == ("running", 1)


def test_a_silent_workers_run_is_taken_over_with_a_new_token(sessions: Sessions):
    run = request(sessions, make_request())
    assert claim(sessions, run.run_id)
    assert claim(sessions, run.run_id, "worker-2") is None
    fall_silent(sessions, run.run_id)
    taken = claim(sessions, run.run_id, "worker-2")
    assert taken is not None
    assert (taken.fencing_token, taken.worker) == (2, "worker-2")


def test_a_stale_worker_can_neither_beat_nor_write(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    claim(sessions, run.run_id)
    stale = Claim(sessions, run.run_id, 1, heartbeat_seconds=60)
    with stale.locked():
        pass
    fall_silent(sessions, run.run_id)
    claim(sessions, run.run_id, "worker-2")
    with pytest.raises(StaleClaim), stale.locked():
        mark_complete(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StaleClaim):
        stale.beat()
    with pytest.raises(StaleClaim):
        stale.check()
    stale.release()
    assert load_run(sessions, run.run_id).worker == "worker-2"


def test_a_worker_that_was_away_asks_before_it_goes_on(sessions: Sessions):
    run = request(sessions, make_request())
    assert claim(sessions, run.run_id) is not None
    held = Claim(sessions, run.run_id, 1, heartbeat_seconds=60.0, timeout_seconds=0.05)
    held.check()
    fall_silent(sessions, run.run_id)
    assert claim(sessions, run.run_id, "worker-2") is not None
    threading.Event().wait(0.1)
    with pytest.raises(StaleClaim):
        held.check()


def test_a_worker_that_was_away_goes_on_while_the_database_is_away(sessions: Sessions):
    run = request(sessions, make_request())
    nowhere = sessionmaker(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    held = Claim(nowhere, run.run_id, 1, heartbeat_seconds=60.0, timeout_seconds=0.05)
    threading.Event().wait(0.1)
    held.check()


def test_nobody_takes_a_run_over_while_its_worker_writes(sessions: Sessions):
    run = request(sessions, make_request())
    claim(sessions, run.run_id)
    fall_silent(sessions, run.run_id)
    taken: list[Run | None] = []
    rival = threading.Thread(target=lambda: taken.append(claim(sessions, run.run_id, "worker-2")))
    with Claim(sessions, run.run_id, 1, heartbeat_seconds=60).locked() as (session, held):
        rival.start()
        rival.join(0.3)
        assert taken == []
        held.heartbeat_at = repository.load_now(session)
    rival.join()
    assert taken == [None]


def test_a_stopped_worker_that_was_writing_locks_its_run_no_longer_than_the_timeout(
    sessions: Sessions, database_url: str
):
    run = request(sessions, make_request())
    assert claim(sessions, run.run_id) is not None
    fall_silent(sessions, run.run_id)
    engine = connect(Settings(database_url=SecretStr(database_url)), pool_size=1, idle_seconds=0.3)
    stopped = Claim(sessionmaker(engine), run.run_id, 1, heartbeat_seconds=60)
    with pytest.raises(DBAPIError) as caught, stopped.locked() as (_, held):
        taken_over = claim(sessions, run.run_id, "worker-2")
        assert taken_over is not None
        assert taken_over.fencing_token == 2
        held.weights_sha256 = "w" * 64
    engine.dispose()
    assert is_transient(caught.value)
    assert load_run(sessions, run.run_id).weights_sha256 is None


def test_the_heartbeat_carries_the_progress(sessions: Sessions):
    run = request(sessions, make_request())
    claim(sessions, run.run_id)
    with Claim(sessions, run.run_id, 1, heartbeat_seconds=0.05) as held:
        held.report(step=3, total=40)
        wait_until(lambda: load_run(sessions, run.run_id).progress == {"step": 3, "total": 40})


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(100):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("did not come true within 5 s")


# --- the order


def finish(sessions: Sessions, run: Run) -> None:
    with Claim(sessions, run.run_id, run.fencing_token, heartbeat_seconds=60).locked() as (session, held):
        finish_run(session, held, "succeeded", "done", topic_prefix="")


def test_runs_of_different_requesters_take_turns(sessions: Sessions):
    flood = [request(sessions, make_request(requested_by="key:ada")) for _ in range(5)]
    begun = claim_next_run(sessions)
    assert begun is not None
    assert begun.run_id == flood[0].run_id
    single = request(sessions, make_request(requested_by="monitor"))
    finish(sessions, begun)
    second = claim_next_run(sessions)
    assert second is not None
    assert second.run_id == single.run_id
    third = claim_next_run(sessions)
    assert third is not None
    assert third.run_id == flood[1].run_id
    assert load_run(sessions, single.run_id).requested_by == "monitor"


def test_of_workers_that_choose_at_once_each_gets_another_run(sessions: Sessions):
    runs = {request(sessions, make_request(requested_by=f"key:{name}")).run_id for name in "abcd"}
    claimed: list[Run | None] = []
    threads = [threading.Thread(target=lambda: claimed.append(claim_next_run(sessions))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.run_id for run in claimed if run} == runs
    assert len([run for run in claimed if run is None]) == 2


def test_a_silent_workers_run_is_next_again_and_counts_as_nobodys(sessions: Sessions):
    run = request(sessions, make_request(requested_by="key:ada"))
    later = request(sessions, make_request())
    assert claim_next_run(sessions) is not None
    fall_silent(sessions, run.run_id)
    taken = [claim_next_run(sessions), claim_next_run(sessions), claim_next_run(sessions)]
    assert [found and (found.run_id, found.fencing_token) for found in taken] == [
        (run.run_id, 2),
        (later.run_id, 1),
        None,
    ]


def test_a_worker_is_given_only_runs_for_the_device_it_was_woken_for(sessions: Sessions):
    run = request(sessions, make_request())
    with sessions() as session, session.begin():
        session.execute(update(Run).values(recipe={**run.recipe, "device": "h100"}))
    assert claim_next_run(sessions) is None
    assert claim_next_run(sessions, "a10") is None
    assert claim_next_run(sessions, "h100") is not None


# --- the sweeper


def test_a_new_run_is_enqueued_once(sessions: Sessions):
    request(sessions, make_request())
    enqueued: list[str | None] = []
    sweeper = make_sweeper(sessions, enqueued.append)
    for _ in range(3):
        sweeper.sweep()
    assert enqueued == [None]


def test_a_queue_that_is_away_loses_no_run(sessions: Sessions):
    request(sessions, make_request())
    with pytest.raises(ConnectionError):
        make_sweeper(sessions, refuse).sweep()
    enqueued: list[str | None] = []
    make_sweeper(sessions, enqueued.append).sweep()
    assert enqueued == [None]


def test_a_run_that_lost_its_worker_is_enqueued_again(sessions: Sessions):
    run = request(sessions, make_request())
    enqueued: list[str | None] = []
    sweeper = make_sweeper(sessions, enqueued.append)
    sweeper.sweep()
    claim(sessions, run.run_id)
    sweeper.sweep()
    assert len(enqueued) == 1
    with sessions() as session, session.begin():
        hour, minute = func.now() - timedelta(hours=1), func.now() - timedelta(minutes=1)
        session.execute(update(Run).values(enqueued_at=hour, heartbeat_at=minute))
    sweeper.sweep()
    assert enqueued == [None, None]


def test_a_paused_loop_starts_no_run(sessions: Sessions):
    request(sessions, make_request())
    with sessions() as session, session.begin():
        session.add(LoopSwitch(id=1, paused=True, actor="ada", at=datetime.now(UTC)))
    enqueued: list[str | None] = []
    sweeper = make_sweeper(sessions, enqueued.append)
    sweeper.sweep()
    assert enqueued == []
    with sessions() as session, session.begin():
        session.execute(update(LoopSwitch).values(paused=False))
    sweeper.sweep()
    assert enqueued == [None]


def test_a_run_past_its_deadline_is_closed_with_the_reason(sessions: Sessions):
    run = request(sessions, make_request(deadline_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert claim(sessions, run.run_id) is None
    make_sweeper(sessions, refuse).sweep()
    [announced] = list_announced(sessions)
    assert announced.outcome == "failed"
    assert announced.reason == "past its deadline while queued, after 0 attempts"


def test_a_result_that_nobody_took_up_is_announced_again(sessions: Sessions):
    run = request(sessions, make_request())
    with sessions() as session, session.begin():
        now = func.now()
        minute_ago = func.now() - timedelta(minutes=1)
        session.execute(update(Run).values(state="succeeded", finished_at=now, announced_at=minute_ago))
    sweeper = make_sweeper(sessions, refuse)
    sweeper.sweep()
    sweeper.sweep()  # only just announced
    assert [event.run_id for event in list_announced(sessions)] == [run.run_id]
    with sessions() as session, session.begin():
        session.execute(update(Run).values(announced_at=func.now() - timedelta(minutes=1)))
        session.execute(
            text(
                "INSERT INTO evaluator.evaluations (evaluation_id, request_id, run_id, candidate_version,"
                " champion_version, training, state, deadline_at)"
                " VALUES (:id, :request, :run, '2', '1', '{}', 'generating', now())"
            ),
            {"id": new_id(), "request": run.request_id, "run": run.run_id},
        )
    sweeper.sweep()
    assert len(list_announced(sessions)) == 1


# --- carrying out


def make_workplace(sessions: Sessions, folder: Path, train: Train) -> Workplace:
    registry = MemoryRegistry(folder / "artifacts")
    registry.register("/models/base", None, {"served_model": "/models/base"})
    return Workplace(
        sessions=sessions,
        registry=registry,
        train={"dpo": train},
        measure=lambda job, points: dict.fromkeys(points, 0.25),
        runs_folder=folder / "runs",
        worker="worker-1",
        code_version="abc123",
        topic_prefix="",
        heartbeat_seconds=0.05,
        heartbeat_timeout=TIMEOUT,
        stop=threading.Event(),
    )


def train_quickly(job: Job, watch: Watch) -> Trained:
    """Steps without a model."""
    first = int(job.resume_from.name.removeprefix("checkpoint-")) if job.resume_from else 0
    for step in range(first + 1, job.recipe.max_steps + 1):
        watch.on_step(step, job.recipe.max_steps)
        watch.on_metrics(step, {"loss": 0.5, "rewards/margins": 0.3})
        checkpoint = job.checkpoints / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        watch.on_checkpoint(checkpoint)
        if watch.stopping:
            raise Interrupted(f"at step {step}")
    job.candidate.mkdir(parents=True)
    (job.candidate / "model.safetensors").write_bytes(b"weights")
    return Trained(steps=job.recipe.max_steps - first, weights_sha256="w" * 64, summary="done", pairs=60, refused=0)


def test_a_run_ends_as_a_version_with_its_lineage_and_one_event(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    workplace = make_workplace(sessions, tmp_path, train_quickly)
    carry_out(None, workplace)
    carry_out(None, workplace)  # a second message for the same run
    done = load_run(sessions, run.run_id)
    assert (done.state, done.candidate_version, done.progress["step"]) == ("succeeded", "2", 4)
    version = workplace.registry.load_version("2")
    assert (Path(version.served_model) / "model.safetensors").read_bytes() == b"weights"
    card = (Path(version.served_model) / "README.md").read_text()
    assert "Made by `dpo`: done after 4 steps" in card
    assert f"- dataset sha256: `{'d' * 64}`" in card
    assert json.loads((Path(version.served_model) / "recipe.json").read_text())["max_steps"] == 4
    assert {name: version.tags[name] for name in version.tags if name != "served_model"} == {
        "weights_sha256": "w" * 64,
        "dataset_sha256": "d" * 64,
        "recipe_sha256": run.recipe_sha256,
        "parent_version": "1",
        "training_run_id": str(run.run_id),
        "request_id": str(run.request_id),
        "code_version": "abc123",
        "anchor_version": "1",
    }
    [announced] = list_announced(sessions)
    assert (announced.outcome, announced.candidate_version, announced.weights_sha256) == ("succeeded", "2", "w" * 64)
    assert announced.mlflow_run_id == done.mlflow_run_id
    assert not (tmp_path / "runs" / str(run.run_id)).exists()


def test_a_failure_is_announced_with_its_reason(sessions: Sessions, tmp_path: Path):
    def train(job: Job, watch: Watch) -> Trained:
        raise TrainingFailed("loss is nan")

    request(sessions, make_request())
    carry_out(None, make_workplace(sessions, tmp_path, train))
    [announced] = list_announced(sessions)
    assert (announced.outcome, announced.reason, announced.candidate_version) == ("failed", "loss is nan", None)


def test_a_surprise_is_a_failure_too(sessions: Sessions, tmp_path: Path):
    def train(job: Job, watch: Watch) -> Trained:
        raise OSError(28, "No space left on device")

    run = request(sessions, make_request())
    carry_out(None, make_workplace(sessions, tmp_path, train))
    assert load_run(sessions, run.run_id).reason == "OSError: [Errno 28] No space left on device"


def test_a_parent_that_is_not_registered_is_a_failure(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request(parent_version="9"))
    carry_out(None, make_workplace(sessions, tmp_path, train_quickly))
    assert load_run(sessions, run.run_id).reason == "no model version 9"


def test_a_worker_told_to_stop_hands_the_run_back_and_the_next_one_resumes(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    workplace = make_workplace(sessions, tmp_path, train_quickly)
    stopping = make_workplace(sessions, tmp_path, stop_after_two_steps)
    carry_out(None, stopping)
    released = load_run(sessions, run.run_id)
    assert (released.state, released.enqueued_at, released.worker) == ("queued", None, None)
    assert list_announced(sessions) == []
    resumed: list[str] = []

    def train(job: Job, watch: Watch) -> Trained:
        assert job.resume_from is not None
        resumed.append(job.resume_from.name)
        return train_quickly(job, watch)

    carry_out(None, Workplace(**vars(workplace) | {"train": {"dpo": train}}))
    assert resumed == ["checkpoint-2"]
    assert load_run(sessions, run.run_id).fencing_token == 2
    assert [event.outcome for event in list_announced(sessions)] == ["succeeded"]


def test_what_was_done_to_a_run_is_told_whoever_goes_on_with_it(sessions: Sessions, client: TestClient, tmp_path: Path):
    run = request(sessions, make_request())

    def go_back(job: Job, watch: Watch) -> Trained:
        watch.on_note("roll back at step 7: loss is nan")
        raise Interrupted("at step 7")

    def stop(job: Job, watch: Watch) -> Trained:
        watch.on_note("stop at step 9: loss is nan")
        raise TrainingFailed("loss is nan")

    carry_out(None, make_workplace(sessions, tmp_path, go_back))
    carry_out(None, make_workplace(sessions, tmp_path, stop))
    seen = client.get(f"/v1/runs/{run.run_id}", headers=make_header(sessions, client, "ops")).json()
    assert seen["progress"]["notes"] == ["roll back at step 7: loss is nan", "stop at step 9: loss is nan"]


class Mirrored(Mirror):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(self, run_id: str, name: str, config: Mapping[str, Any]) -> None:
        self.told.append(("begin", run_id, config["dataset_sha256"], config["dataset_uri"], config["code_version"]))

    def describe(self, config: Mapping[str, Any]) -> None:
        self.told.append(("describe", dict(config)))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.told.append(("log", step, metrics.get("loss")))

    def end(self, outcome: str, facts: Mapping[str, Any]) -> None:
        self.told.append(("end", outcome, facts["reason"], facts["candidate_version"]))

    def leave(self) -> None:
        self.told.append(("leave",))


def test_a_mirror_is_told_of_each_attempt_and_once_of_the_end(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    mirror = Mirrored()
    begun = ("begin", str(run.run_id), "d" * 64, "/datasets/d", "abc123")
    carry_out(None, replace(make_workplace(sessions, tmp_path, stop_after_two_steps), mirror=mirror))
    assert mirror.told == [begun, ("leave",)]
    carry_out(None, replace(make_workplace(sessions, tmp_path, train_quickly), mirror=mirror))
    assert mirror.told[2:] == [
        begun,
        ("log", 3, 0.5),
        ("log", 4, 0.5),
        ("log", 2, None),  # how far the candidate moved
        ("end", "succeeded", "done", "2"),
        ("leave",),
    ]


def stop_after_two_steps(job: Job, watch: Watch) -> Trained:
    for step in (1, 2):
        checkpoint = job.checkpoints / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        watch.on_checkpoint(checkpoint)
    raise Interrupted("at step 2")


def test_a_worker_that_died_after_registering_leaves_no_twin(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    workplace = make_workplace(sessions, tmp_path, train_quickly)
    earlier = workplace.registry.register("/models/c", None, {"training_run_id": str(run.run_id), "served_model": "c"})
    carry_out(None, workplace)
    assert load_run(sessions, run.run_id).candidate_version == earlier.version
    assert len(workplace.registry.list_versions()) == 2


def test_a_worker_whose_run_was_taken_over_registers_nothing(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())

    def train(job: Job, watch: Watch) -> Trained:
        trained = train_quickly(job, watch)
        with sessions() as session, session.begin():
            session.execute(update(Run).values(fencing_token=Run.fencing_token + 1))
        return trained

    workplace = make_workplace(sessions, tmp_path, train)
    carry_out(None, workplace)
    assert len(workplace.registry.list_versions()) == 1
    assert list_announced(sessions) == []
    assert load_run(sessions, run.run_id).state == "running"


class LateRegistry(MemoryRegistry):
    """The first folder that is stored arrives late: something else happens first."""

    def __init__(self, artifacts: Path, first: Callable[[], None]) -> None:
        super().__init__(artifacts)
        self._first: Callable[[], None] | None = first

    def log_folder(self, run_id: str, folder: Path, artifact_path: str) -> str:
        if self._first:
            first, self._first = self._first, None
            folder = shutil.copytree(folder, folder.parents[3] / "late")  # what is read is read before it is deleted
            first()
        return super().log_folder(run_id, folder, artifact_path)


def test_a_stale_workers_late_files_are_not_the_registered_versions(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    workplace = make_workplace(sessions, tmp_path, train_quickly)

    def train_better(job: Job, watch: Watch) -> Trained:
        trained = train_quickly(job, watch)
        (job.candidate / "model.safetensors").write_bytes(b"better")
        return replace(trained, weights_sha256="b" * 64)

    def take_over() -> None:
        fall_silent(sessions, run.run_id)
        carry_out(None, Workplace(**vars(stale) | {"train": {"dpo": train_better}, "worker": "worker-2"}))

    registry = LateRegistry(tmp_path / "artifacts", take_over)
    registry.register("/models/base", None, {"served_model": "/models/base"})
    stale = Workplace(**vars(workplace) | {"registry": registry, "heartbeat_seconds": 60.0})
    carry_out(None, stale)
    done = load_run(sessions, run.run_id)
    assert (done.state, done.fencing_token, done.weights_sha256) == ("succeeded", 2, "b" * 64)
    [version] = [found for found in registry.list_versions() if "training_run_id" in found.tags]
    assert (version.version, version.tags["weights_sha256"]) == (done.candidate_version, "b" * 64)
    assert (Path(version.served_model) / "model.safetensors").read_bytes() == b"better"
    assert [event.outcome for event in list_announced(sessions)] == ["succeeded"]


def test_a_database_that_goes_away_leaves_the_run_to_the_sweeper(sessions: Sessions, engine: Engine, tmp_path: Path):
    def train(job: Job, watch: Watch) -> Trained:
        raise ConnectionError("the database is away")

    run = request(sessions, make_request())
    with pytest.raises(ConnectionError):
        carry_out(None, make_workplace(sessions, tmp_path, train))
    assert load_run(sessions, run.run_id).state == "running"
    assert list_announced(sessions) == []


# --- over HTTP


@pytest.fixture
def client(sessions: Sessions) -> TestClient:
    app = create_app("trainer", checks={})
    app.state.keys = KeyRing(lambda: load_keys(sessions))
    app.include_router(make_router(sessions, topic_prefix=""))
    return TestClient(app)


def make_header(sessions: Sessions, client: TestClient, role: str) -> dict[str, str]:
    with sessions() as session, session.begin():
        key = create_key(session, f"{role}-key", role)
    client.app.state.keys.refresh()  # type: ignore[attr-defined]
    return {"Authorization": f"Bearer {key}"}


def test_ops_see_the_runs_and_others_do_not(sessions: Sessions, client: TestClient):
    run = request(sessions, make_request())
    header = make_header(sessions, client, "ops")
    listed = client.get("/v1/runs", headers=header).json()["runs"]
    assert [(row["run_id"], row["state"]) for row in listed] == [(str(run.run_id), "queued")]
    assert client.get(f"/v1/runs/{run.run_id}", headers=header).json() == listed[0]
    assert client.get("/v1/runs?state=failed", headers=header).json() == {"runs": []}
    assert client.get(f"/v1/runs/{new_id()}", headers=header).status_code == 404
    assert client.get("/v1/runs?state=magic", headers=header).status_code == 422
    assert client.get("/v1/runs").status_code == 401
    assert client.get("/v1/runs", headers=make_header(sessions, client, "frontend")).status_code == 403


def test_only_an_admin_cancels_and_twice_is_as_once(sessions: Sessions, client: TestClient):
    run = request(sessions, make_request())
    path = f"/v1/runs/{run.run_id}/cancel"
    assert client.post(path, headers=make_header(sessions, client, "ops")).status_code == 403
    admin = make_header(sessions, client, "admin")
    cancelled = client.post(path, headers=admin).json()
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled by admin-key")
    again = client.post(path, headers=make_header(sessions, client, "admin"))
    assert (again.status_code, again.json()) == (200, cancelled)
    assert [event.outcome for event in list_announced(sessions)] == ["cancelled"]
    assert claim(sessions, run.run_id) is None


def test_a_run_that_failed_is_not_cancelled(sessions: Sessions, client: TestClient):
    run = request(sessions, make_request(recipe="no_such"))
    response = client.post(f"/v1/runs/{run.run_id}/cancel", headers=make_header(sessions, client, "admin"))
    assert response.status_code == 409
    assert load_run(sessions, run.run_id).state == "failed"


def test_a_running_run_notices_its_cancelling(sessions: Sessions, client: TestClient, tmp_path: Path):
    run = request(sessions, make_request())
    admin = make_header(sessions, client, "admin")

    def train(job: Job, watch: Watch) -> Trained:
        assert client.post(f"/v1/runs/{run.run_id}/cancel", headers=admin).status_code == 200
        pause = threading.Event()
        for _ in range(100):
            watch.on_micro_step()
            pause.wait(0.05)
        raise AssertionError("nobody told the worker within 5 s")

    workplace = make_workplace(sessions, tmp_path, train)
    carry_out(None, workplace)
    assert [event.outcome for event in list_announced(sessions)] == ["cancelled"]
    assert len(workplace.registry.list_versions()) == 1


# --- lineage over generations


def train_parent(workplace: Workplace, sessions: Sessions, **changes: object) -> Run:
    run = request(sessions, make_request(**changes))
    carry_out(None, workplace)
    return load_run(sessions, run.run_id)


def test_the_anchor_is_carried_from_parent_to_child(sessions: Sessions, tmp_path: Path):
    workplace = make_workplace(sessions, tmp_path, train_quickly)
    first = train_parent(workplace, sessions)
    second = train_parent(workplace, sessions, parent_version=first.candidate_version)
    version = workplace.registry.load_version(str(second.candidate_version))
    assert (version.tags["parent_version"], version.tags["anchor_version"]) == ("2", "1")


def test_a_candidate_too_far_from_the_anchor_is_not_registered(sessions: Sessions, tmp_path: Path):
    workplace = make_workplace(sessions, tmp_path, train_quickly)
    run = request(sessions, make_request())
    ceiling = {"drift": {"examples": 4, "max_parent_kl": 0.2, "max_anchor_kl": None}}
    with sessions() as session, session.begin():
        session.execute(update(Run).where(Run.run_id == run.run_id).values(recipe=run.recipe | ceiling))
    carry_out(None, workplace)
    done = load_run(sessions, run.run_id)
    assert (done.state, done.candidate_version) == ("failed", None)
    assert done.reason == "the candidate is 0.25 nats a token from its parent, above drift.max_parent_kl 0.2"


def test_replay_asks_the_chain_of_datasets_and_skips_what_was_erased(sessions: Sessions):
    chain = [
        ("a", None, ["1"], None),
        ("b", "a", ["1", "2"], "x"),
        ("x", None, ["1"], None),
        ("c", "b", ["1", "3"], None),
    ]
    with sessions() as session, session.begin():
        for name, parent, pairs, replaced_by in [*chain, ("d", "c", ["1", "4"], None)]:
            erased_at = func.now() if replaced_by else None
            manifest = {"pair_ids": pairs, "label_ids": [f"label-{name}"]}
            session.add(
                Dataset(
                    dataset_sha256=name,
                    uri=f"/{name}",
                    parent_sha256=parent,
                    manifest=manifest,
                    erased_at=erased_at,
                    replaced_by=replaced_by,
                )
            )
    with sessions() as session:
        found = load_snapshots(session, "d")
    assert [(one.name, sorted(one.ids)) for one in found] == [
        ("c", ["1", "3", "label-c"]),
        ("b", ["1", "label-x"]),
        ("a", ["1", "label-a"]),
    ]
