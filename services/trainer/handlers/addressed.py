"""`heliotrope train` on a machine that an engine gave: everything comes and goes by address.

Each of a run's machines executes this; the first reports, and stores what was trained.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.trainer.adapters.artifacts.checkpoints import (
    find_newest,
    find_trained,
    load_training_seconds,
    mark_complete,
    save_result,
)
from services.trainer.adapters.launching.mailbox import CANDIDATE, Mailbox, ReportSender
from services.trainer.adapters.launching.patience import call_patiently
from services.trainer.adapters.launching.run_store import NO_SEALS, RunStore, Seals
from services.trainer.adapters.launching.stored_checkpoints import StoredCheckpoints
from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.launching.endings import Outcome, OutcomeUnsent, PeerLost
from services.trainer.domain.launching.limits import calculate_reserve, limit_budget
from services.trainer.domain.planning.places import Place
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import (
    NO_FUNCTIONS,
    Interrupted,
    Job,
    OutOfMemory,
    RewardRules,
    TrainingFailed,
    TrainingResult,
)
from services.trainer.ports import RunReporter, TrainingMethod
from shared.artifacts import Artifacts, ArtifactStoreUnavailable
from shared.errors import HeliotropeError, describe_error

PrintLine = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class AddressedOrder:
    """What to train, fetched already, and the address that the result goes to."""

    recipe: Recipe
    base: Path
    base_uri: str
    base_sha256: str | None
    dataset: Path
    output: str
    number: int
    """Of the run's starts, this one."""
    folder: Path
    """This machine's, for checkpoints."""
    place: Place
    seals: Seals = NO_SEALS
    rewards: RewardRules = NO_FUNCTIONS
    ends_at: float | None = None
    """By `time.monotonic`: when its engine takes the machine back; None: never."""
    patience_seconds: float = 600.0
    """How long the store may be away at the start and the end, while the machine is paid for."""


def run_addressed(
    order: AddressedOrder, train: TrainingMethod, artifacts: Artifacts, print_line: PrintLine, stop: threading.Event
) -> TrainingResult:
    """Train on from the newest checkpoint at the output, and store candidate and outcome there.

    Raises: as `TrainingMethod`, once the outcome is stored; PeerLost in place of what the engine must explain;
        OutcomeUnsent: the store was away for too long, and the folder is to be kept.
    """
    store = RunStore(artifacts, order.output, order.seals)
    mailbox = Mailbox(store, order.number, order.patience_seconds)
    checkpoints = StoredCheckpoints(store, order.folder, order.place)
    sender = ReportSender(mailbox, stop) if order.place.is_first else None
    try:
        call_patiently(checkpoints.restore, order.patience_seconds)
        with stopped_in_time(order, stop):
            candidate, result = _train(order, train, NodeReporter(sender, checkpoints, print_line, stop))
        if sender is not None:
            sender.close()
            sha256 = mailbox.send_candidate(candidate)
            mailbox.send_outcome(Outcome("trained", result=result, candidate_sha256=sha256))
        return result
    except Exception as error:
        outcome = describe_end(error, alone=order.place.count == 1)
        if sender is not None:
            sender.close()
        _store_end(order, mailbox, checkpoints, outcome)
        if outcome.kind in ("lost", "memory"):
            raise PeerLost(describe_error(error)) from error
        if isinstance(error, ArtifactStoreUnavailable):
            raise OutcomeUnsent(error.detail) from error
        raise


@contextmanager
def stopped_in_time(order: AddressedOrder, stop: threading.Event) -> Iterator[None]:
    """Have a checkpoint saved before the machine is taken back, whatever the recipe's budget has come to.

    Raises: TrainingFailed: the time was up.
    """
    was_told = threading.Event()

    def tell() -> None:
        was_told.set()
        stop.set()

    left = _count_left(order)
    timer = threading.Timer(min(left - calculate_reserve(left) / 2, threading.TIMEOUT_MAX), tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Interrupted as error:
        if was_told.is_set():
            raise TrainingFailed(f"its time was up: {error.detail}; its checkpoint is kept", "launcher") from error
        raise
    finally:
        timer.cancel()


def _count_left(order: AddressedOrder) -> float:
    return math.inf if order.ends_at is None else order.ends_at - time.monotonic()


def _train(order: AddressedOrder, train: TrainingMethod, reporter: RunReporter) -> tuple[Path, TrainingResult]:
    """Train, or find what an earlier start trained on this disk and could not store; returns the candidate too."""
    trained = find_trained(order.folder, below_token=order.number) if order.place.count == 1 else None
    if trained is not None:
        return trained[0] / CANDIDATE, trained[1]
    job = _prepare_job(order, reporter.on_note)
    result = train(job, reporter)
    if order.place.is_first:
        save_result(job.checkpoints, job.candidate, result)
    return job.candidate, result


def _store_end(order: AddressedOrder, mailbox: Mailbox, checkpoints: StoredCheckpoints, outcome: Outcome) -> None:
    """Store the last checkpoint, if the store was away when it came, and then the outcome. Raises: OutcomeUnsent."""
    try:
        call_patiently(checkpoints.keep_missed, order.patience_seconds)
        mailbox.send_outcome(outcome, order.place.rank)
    except ArtifactStoreUnavailable as error:
        raise OutcomeUnsent(f"the store is away, so what this run came to stays here: {error.detail}") from error


def describe_end(error: Exception, *, alone: bool) -> Outcome:
    """Describe how a run ended that trained nothing; `lost` where another machine may be gone."""
    if isinstance(error, Interrupted):
        return Outcome("interrupted", error.detail)
    if isinstance(error, ConnectionError | ArtifactStoreUnavailable):
        return Outcome("interrupted", f"the artifact store did not answer: {error}")
    if isinstance(error, TrainingFailed):
        return Outcome("failed", error.detail, error.cause)
    if isinstance(error, OutOfMemory):
        return Outcome("failed" if alone else "memory", error.detail, "memory")
    if not alone:
        return Outcome("lost", describe_error(error))
    return Outcome("failed", describe_error(error), "setup" if isinstance(error, HeliotropeError) else "error")


def _prepare_job(order: AddressedOrder, print_line: PrintLine) -> Job:
    resume_from = find_newest(order.folder, below_token=order.number)
    if resume_from is not None:
        print_line(f"going on from {resume_from.name}")
    attempt = order.folder / str(order.number)
    attempt.mkdir(parents=True, exist_ok=True)
    recipe = order.recipe
    if order.ends_at is not None:
        recipe = limit_budget(recipe, load_training_seconds(resume_from) if resume_from else 0.0, _count_left(order))
    return Job(
        recipe,
        order.base,
        order.dataset,
        attempt,
        resume_from,
        attempt / CANDIDATE,
        parent_uri=order.base_uri,
        parent_sha256=order.base_sha256,
        rewards=order.rewards,
        place=order.place,
    )


class NodeReporter:
    """Passes reports to the worker that watches, stores checkpoints, and prints the engine's log for people."""

    def __init__(
        self, sender: RunReporter | None, checkpoints: StoredCheckpoints, print_line: PrintLine, stop: threading.Event
    ) -> None:
        """`sender`: None on all machines but the first."""
        self._sender, self._checkpoints, self._print_line, self._stop = sender, checkpoints, print_line, stop

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def on_phase(self, phase: str) -> None:
        self._print_line(phase)
        if self._sender:
            self._sender.on_phase(phase)
        if self.stopping:
            raise Interrupted(f"while {phase}")

    def on_micro_step(self) -> None:
        """Do nothing: the worker looks after the claim."""

    def on_step(self, step: int, total: int) -> None:
        if self._sender:
            self._sender.on_step(step, total)

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        self._print_line(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        if self._sender:
            self._sender.on_metrics(step, metrics)

    def on_note(self, note: str) -> None:
        self._print_line(note)
        if self._sender:
            self._sender.on_note(note)

    def on_checkpoint(self, checkpoint: Path) -> None:
        mark_complete(checkpoint)
        self._checkpoints.keep(checkpoint)
        if self._sender:
            self._sender.on_checkpoint(checkpoint)
