"""A run whose workers, Postgres and Valkey are killed, and one whose worker was away for too long: each ends with the
weights of an undisturbed run, one version and one announcement, and no two attempts are ever at work together."""

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.servers.postgres import create_database
from local.stack.preparation import migrate
from local.stack.stack import Stack
from shared.events import RetrainRequested
from shared.tables.trainer import Run
from tests.faults.saboteur import Saboteur
from tests.trainer_processes import (
    Trainer,
    ask_for_training,
    find_port,
    make_registry,
    read_completed,
    run_trainers,
    wait_until,
)

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(2400),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's
]

SEED = 11
KILLS = 10
STEPS = 120
HEARTBEAT_TIMEOUT_SECONDS = 4
RECIPE = f"""
name: tiny
method: sft
sft_rows: chosen
max_steps: {STEPS}
learning_rate: 1.0e-3
batch_size: 4
max_length: 96
lora: {{r: 4, alpha: 8, dropout: 0.1}}
save_steps: 4
logging_steps: 1
"""
SETTINGS = {
    "HELIOTROPE_TRAINER_HEARTBEAT_SECONDS": "0.1",
    "HELIOTROPE_TRAINER_HEARTBEAT_TIMEOUT_SECONDS": str(HEARTBEAT_TIMEOUT_SECONDS),
    "HELIOTROPE_TRAINER_SWEEP_SECONDS": "0.2",
    "HELIOTROPE_TRAINER_REQUEUE_AFTER_SECONDS": "10",
    "HELIOTROPE_TRAINER_ANNOUNCE_AGAIN_SECONDS": "3600",
}
WAIT_SECONDS = 400.0
"""For one thing, also on a machine that is busy with others."""
QUIET_SECONDS = 5.0
"""For so long after the first announcement, none may follow."""


@dataclass(frozen=True)
class Attempt:
    """What one worker's log says of its hold on a run; times in seconds since the epoch."""

    token: int
    claimed: float
    began: float | None
    resumed_at: int
    """The checkpoint's step, 0 without one."""


@dataclass
class Scene:
    """A trainer on stores of its own, and the sha256 of the weights that an undisturbed run ends with."""

    stack: Stack
    trainer: Trainer
    registry: Any
    undisturbed_sha256: str = ""
    workers: list[psutil.Process] = field(default_factory=list)

    def keep_workers(self, count: int) -> None:
        """Start as many as are missing: a worker that waits takes a run over sooner than one that still starts."""
        self.workers = [worker for worker in self.workers if is_alive(worker)]
        while len(self.workers) < count:
            self.workers.append(psutil.Process(self.trainer.start("worker", port=find_port()).pid))

    def load_run(self, request: RetrainRequested) -> Run:
        run = self.trainer.load_run(request)
        assert run is not None
        return run

    def find_family(self, run: Run) -> list[psutil.Process]:
        """The worker that holds the run, and its child that trains."""
        assert run.worker is not None
        child = psutil.Process(int(run.worker.rpartition(":")[2]))
        [worker] = [worker for worker in self.workers if child.pid in {found.pid for found in list_family(worker)}]
        return [worker, child]

    def read_lines(self) -> list[dict[str, Any]]:
        """All that the processes logged, in the order of time."""
        lines: list[dict[str, Any]] = []
        for path in self.trainer.home.glob("*.log"):
            for line in path.read_text(errors="replace").splitlines():
                with suppress(json.JSONDecodeError):
                    found = json.loads(line)
                    if isinstance(found, dict) and "timestamp" in found:
                        lines.append(found)
        return sorted(lines, key=lambda line: str(line["timestamp"]))

    def list_attempts(self, request: RetrainRequested) -> list[Attempt]:
        """In the order in which they claimed the run."""
        lines = [line for line in self.read_lines() if line.get("request_id") == str(request.request_id)]
        claims = [line for line in lines if line["event"] == "run_claimed"]
        starts = [line for line in lines if line["event"] == "training_started"]
        attempts: list[Attempt] = []
        for claim, following in zip(claims, [*claims[1:], None], strict=True):
            until = str(following["timestamp"]) if following else "9999"
            start = next((line for line in starts if str(claim["timestamp"]) < str(line["timestamp"]) < until), None)
            resumed = str((start or {}).get("resume_from") or "checkpoint-0")
            attempts.append(
                Attempt(
                    token=int(claim["token"]),
                    claimed=parse_time(claim),
                    began=parse_time(start) if start else None,
                    resumed_at=int(resumed.removeprefix("checkpoint-")),
                )
            )
        return attempts

    def list_steps(self, request: RetrainRequested) -> list[tuple[float, int, float]]:
        """(time, step, loss) of every step that was logged, in the order of time."""
        from mlflow import MlflowClient

        client = MlflowClient(self.trainer.environment["HELIOTROPE_MLFLOW_TRACKING_URI"])
        history = client.get_metric_history(self.load_run(request).mlflow_run_id, "loss")
        return sorted((metric.timestamp / 1000, metric.step, metric.value) for metric in history)


def parse_time(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(str(line["timestamp"])).timestamp()


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def list_family(worker: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [worker, *worker.children(recursive=True)]
    return []


def wait_until_gone(process: psutil.Process) -> None:
    give_up = time.monotonic() + 5
    while is_alive(process):
        assert time.monotonic() < give_up, f"process {process.pid} lives on"
        time.sleep(0.02)


def has_taken_steps(scene: Scene, request: RetrainRequested, *, attempt: int, steps: int) -> bool:
    """Whether this attempt, or one after it, says that so many steps are taken."""
    run = scene.trainer.load_run(request)
    if run is None or run.state != "running" or run.fencing_token < attempt or run.heartbeat_at is None:
        return run is not None and run.state == "succeeded"
    attempts = [found for found in scene.list_attempts(request) if found.token == run.fencing_token]
    if not attempts or attempts[0].began is None or run.heartbeat_at.timestamp() <= attempts[0].began:
        return False  # what the row says of progress is still the attempt's before
    return int(run.progress.get("step", 0)) >= steps


def wait_for_steps(scene: Scene, request: RetrainRequested, *, attempt: int, steps: int) -> Run:
    look = partial(has_taken_steps, scene, request, attempt=attempt, steps=steps)
    wait_until(scene.trainer, look, f"attempt {attempt} is at step {steps}", WAIT_SECONDS)
    run = scene.load_run(request)
    assert run.state == "running", f"{run.state} before attempt {attempt} was at step {steps}"
    return run


def check_outcome(scene: Scene, request: RetrainRequested) -> list[Attempt]:
    """One event, one version with an undisturbed run's weights, and attempts one after the other; the attempts."""
    [completed] = read_completed(scene.trainer, WAIT_SECONDS, request=request, more_seconds=QUIET_SECONDS)
    assert completed.outcome == "succeeded", scene.trainer.read_logs()
    assert completed.weights_sha256 == scene.undisturbed_sha256
    run = scene.load_run(request)
    versions = [
        version for version in scene.registry.list_versions() if version.tags.get("training_run_id") == str(run.run_id)
    ]
    assert [version.version for version in versions] == [completed.candidate_version]
    assert versions[0].tags["weights_sha256"] == scene.undisturbed_sha256
    assert hash_served(Path(versions[0].served_model)) == scene.undisturbed_sha256
    found = scene.list_attempts(request)
    assert [attempt.token for attempt in found] == list(range(1, run.fencing_token + 1))
    return found


def hash_served(folder: Path) -> str:
    from shared.artifacts import calculate_weights_sha256

    return calculate_weights_sha256(folder)


def check_steps(scene: Scene, request: RetrainRequested, attempts: list[Attempt], *, tracked: bool = True) -> int:
    """Each attempt logged the steps after its checkpoint, alone and with the losses of all others; how many.

    Where the tracking server's database was away, some may be missing.
    """
    steps = scene.list_steps(request)
    for attempt, following in zip(attempts, [*attempts[1:], None], strict=True):
        until = following.claimed if following else float("inf")
        own = [step for at, step, _ in steps if attempt.claimed <= at < until]
        assert own == sorted(set(own)), attempt
        assert not own or own[0] > attempt.resumed_at, attempt
        if tracked:
            assert own == list(range(attempt.resumed_at + 1, attempt.resumed_at + 1 + len(own))), attempt
    losses: dict[int, set[float]] = {}
    for _, step, loss in steps:
        losses.setdefault(step, set()).add(loss)
    assert {len(values) for values in losses.values()} == {1}
    if tracked:
        assert sorted(losses) == list(range(1, STEPS + 1))
    return len(steps)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, find_port_base: Any) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("trainer")
    for folder in (home, home.parent, home.parent.parent):
        folder.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
    stack = Stack(home / "stores", find_port_base(), only=("postgres", "valkey", "broker", "mlflow"), throwaway=True)
    stack.up()
    connections = stack.connections
    database_url = create_database(connections.database_server_url, "trainer_faults")
    migrate(database_url)
    try:
        with run_trainers(
            home / "trainer",
            RECIPE,
            database_url=database_url,
            redis_url=connections.redis_url,
            kafka_bootstrap=connections.kafka_bootstrap_servers,
            topic_prefix="faults.",
            settings=SETTINGS | {"HELIOTROPE_MLFLOW_TRACKING_URI": connections.mlflow_tracking_uri},
        ) as trainer:
            scene = Scene(stack, trainer, make_registry(trainer))
            trainer.start(port=find_port())
            scene.keep_workers(2)
            request = ask_for_training(trainer, minutes=60)
            [completed] = read_completed(trainer, WAIT_SECONDS, request=request)
            assert completed.outcome == "succeeded", trainer.read_logs()
            scene.undisturbed_sha256 = completed.weights_sha256 or ""
            assert check_steps(scene, request, scene.list_attempts(request)) == STEPS
            yield scene
    finally:
        stack.down()


def test_a_run_whose_worker_is_killed_ten_times_ends_with_an_undisturbed_runs_weights(scene: Scene):
    rng = random.Random(SEED)
    request, victims, started, attempt = (
        ask_for_training(scene.trainer, minutes=60),
        Counter[str](),
        time.monotonic(),
        1,
    )
    for target in sorted(rng.sample(range(3, STEPS * 9 // 10), KILLS)):
        scene.keep_workers(2)
        run = wait_for_steps(scene, request, attempt=attempt, steps=target)
        worker, child = scene.find_family(run)
        victim = rng.choice(("worker", "child"))
        (worker if victim == "worker" else child).kill()
        wait_until_gone(child)
        victims[victim] += 1
        say(f"{victim} of attempt {run.fencing_token} killed: step {target} drawn, {run.progress['step']} seen")
        attempt = run.fencing_token + 1
    scene.keep_workers(2)
    attempts = check_outcome(scene, request)
    logged = check_steps(scene, request, attempts)
    assert len(attempts) >= KILLS + 1  # a worker whose heartbeat starves on a busy machine loses its run, too
    words = (
        f"{len(attempts)} attempts, {logged} steps for {STEPS}, {time.monotonic() - started:.0f} s, the same weights"
    )
    say(f"seed {SEED}: {dict(victims)}, {words}")


def test_a_run_outlives_crashes_of_valkey_and_postgres(scene: Scene):
    rng = random.Random(SEED + 1)
    saboteur = Saboteur(scene.stack)
    request, started = ask_for_training(scene.trainer, minutes=60), time.monotonic()
    for name, target in zip(("valkey", "postgres") * 2, sorted(rng.sample(range(10, STEPS - 10), 4)), strict=True):
        scene.keep_workers(2)
        run = wait_for_steps(scene, request, attempt=1, steps=target)
        family = list_family(saboteur.find(name))
        pid = saboteur.kill(name)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        saboteur.wait_until_ready(name, other_than=pid)
        say(f"{name} crashed at step {run.progress['step']} of attempt {run.fencing_token}, drawn {target}")
    attempts = check_outcome(scene, request)
    logged = check_steps(scene, request, attempts, tracked=False)
    say(f"{len(attempts)} attempts, {logged} steps for {STEPS}, {time.monotonic() - started:.0f} s, the same weights")


def test_a_worker_that_was_away_for_too_long_can_neither_save_nor_register(scene: Scene):
    scene.keep_workers(2)
    request = ask_for_training(scene.trainer, minutes=60)
    run = wait_for_steps(scene, request, attempt=1, steps=40)
    token, family = run.fencing_token, scene.find_family(run)
    for process in family:
        process.suspend()
    stopped_at = time.monotonic()
    own_folder = scene.trainer.home / "runs" / str(run.run_id) / str(token)
    marked = list_marked(own_folder)
    taken_over = wait_for_steps(scene, request, attempt=token + 1, steps=1)
    took = time.monotonic() - stopped_at
    assert took > HEARTBEAT_TIMEOUT_SECONDS
    for process in reversed(family):
        process.resume()
    wait_until(scene.trainer, lambda: not is_alive(family[1]), "the stale worker gives up", WAIT_SECONDS)
    assert set(list_marked(own_folder)) <= set(marked)
    attempts = check_outcome(scene, request)
    check_steps(scene, request, attempts)
    resumed_at = next(attempt.resumed_at for attempt in attempts if attempt.token == taken_over.fencing_token)
    say(
        f"stopped at step {run.progress['step']}, taken over at step {resumed_at}, {took:.1f} s later, the same weights"
    )


def list_marked(attempt_folder: Path) -> list[str]:
    return [marker.parent.name for marker in attempt_folder.glob("checkpoint-*/complete")]


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
