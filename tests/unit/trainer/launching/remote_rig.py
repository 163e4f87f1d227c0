"""A worker's part in a run that trains elsewhere, without a database: the row is an object, its time a number."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from services.trainer.adapters.distributed.exchange import write_call
from services.trainer.adapters.launching.mailbox import Mailbox
from services.trainer.adapters.launching.run_store import RunStore, open_seals
from services.trainer.domain.launching.endings import Outcome, QuotaReached, RemoteRun
from services.trainer.domain.launching.limits import Limits
from services.trainer.domain.launching.orders import RUN_KEY, LaunchOrder
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.handlers.remote_files import Offer, RemoteFiles
from services.trainer.handlers.remote_run import RemoteTraining
from shared.artifacts import Artifacts
from shared.errors import StaleClaim
from shared.tables.trainer import Run
from tests.builders import make_recipe
from tests.unit.trainer.quiet_reporter import QuietReporter

RUN = UUID(int=7)
RESULT = TrainingResult(4, "w" * 64, "all steps taken", 60, 0)
TWO_MACHINES = Limits(max_instances=2)
Play = Callable[["Engine", LaunchOrder, Mailbox], RemoteRun]
"""What one start of the run does; returns what the engine shows of it from then on."""


@dataclass
class HeldClaim:
    """A claim on the run, held until `lost`."""

    run: Run
    now: datetime = datetime(2026, 11, 28, tzinfo=UTC)
    is_lost: bool = False

    @contextmanager
    def locked(self) -> Iterator[tuple[Any, Run]]:
        if self.is_lost:
            raise StaleClaim("it was cancelled")
        yield SimpleNamespace(execute=lambda _: SimpleNamespace(scalar_one=lambda: self.now)), self.run

    def is_finished(self) -> bool:
        return self.run.state not in ("queued", "running")


@dataclass
class Engine:
    """Starts what the plays say, one after another, the last of them again and again."""

    files: RemoteFiles
    claim: HeldClaim
    plays: Sequence[Play]
    orders: list[LaunchOrder] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    states: dict[str, RemoteRun] = field(default_factory=dict)
    seconds: float = 0.0
    """That pass before somebody looks again."""
    full_for: list[float] = field(default_factory=list)
    """Seconds that pass at each call to start that finds no room."""

    def start(self, order: LaunchOrder) -> str:
        if self.full_for:
            self.claim.now += timedelta(seconds=self.full_for.pop())
            raise QuotaReached("no room")
        self.orders.append(order)
        number = len(self.orders)
        play = self.plays[min(number, len(self.plays)) - 1]
        self.states[order.name] = play(self, order, self.open_mailbox(order, number))
        return order.name

    def open_mailbox(self, order: LaunchOrder, number: int) -> Mailbox:
        """As a machine does that was given this order."""
        seals = open_seals(order.environment.get(RUN_KEY), ())
        return Mailbox(RunStore(self.files.artifacts, self.files.output, seals), number)

    def look(self, handle: str) -> RemoteRun:
        self.claim.now += timedelta(seconds=self.seconds)
        self.seconds = 0.0
        return self.states[handle]

    def read_log(self, handle: str) -> str:
        return "the log's end"

    def cancel(self, handle: str) -> None:
        self.cancelled.append(handle)
        self.states[handle] = RemoteRun("cancelled")


@dataclass
class Remote:
    """One run, its engine and its worker."""

    folder: Path
    plays: Sequence[Play]
    limits: Limits = TWO_MACHINES
    nodes: int = 1
    batch_size: int = 4
    key: str | None = None

    def __post_init__(self) -> None:
        artifacts = Artifacts(self.folder / "cache", max_cache_bytes=1 << 30, root=(self.folder / "store").as_uri())
        self.files = RemoteFiles(artifacts, artifacts.locate(f"remote/{RUN}"), self.key)
        self.run = Run(run_id=RUN, state="running", progress={}, dataset_uri=str(self.folder / "dataset"))
        self.claim = HeldClaim(self.run)
        self.engine = Engine(self.files, self.claim, self.plays)
        self.reporter = QuietReporter()

    def train(self) -> TrainingResult:
        claim: Any = self.claim
        offer = Offer("spot", self.engine, self.limits, {})
        training = RemoteTraining(
            self.run, claim, self.reporter, offer, self.files, poll_seconds=0.001, patience_seconds=0.01
        )
        return training.train(self._make_job())

    def _make_job(self) -> Job:
        spread = {"strategy": "ddp", "processes": self.nodes, "nodes": self.nodes} if self.nodes > 1 else {}
        recipe = make_recipe(parallelism=spread, batch_size=self.batch_size)
        return Job(
            recipe=recipe,
            parent=self.folder / "parent",
            dataset=self.folder / "dataset",
            checkpoints=self.folder / "checkpoints",
            resume_from=None,
            candidate=self.folder / "candidate",
            parent_uri=str(self.folder / "parent"),
        )


def train_well(engine: Engine, order: LaunchOrder, mailbox: Mailbox) -> RemoteRun:
    """Store a candidate."""
    folder = engine.files.artifacts.locate("").removeprefix("file://").rstrip("/")
    made = Path(folder).parent / "made"
    made.mkdir(exist_ok=True)
    (made / "model.safetensors").write_bytes(b"weights")
    sha256 = mailbox.send_candidate(made)
    mailbox.send_outcome(Outcome("trained", result=RESULT, candidate_sha256=sha256))
    return RemoteRun("succeeded")


def end_as(state: RemoteRun, *words: Outcome, checkpoint: bool = False, passed: float = 0.0) -> Play:
    """End with a word of each machine, after a checkpoint, so many seconds later."""

    def play(engine: Engine, order: LaunchOrder, mailbox: Mailbox) -> RemoteRun:
        if checkpoint:
            mailbox.send_lines(1, [write_call("checkpoint", "checkpoint-2")])
        for rank, word in enumerate(words):
            mailbox.send_outcome(word, rank)
        engine.seconds = passed
        return state

    return play
