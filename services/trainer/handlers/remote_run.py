"""A run that trains elsewhere: started through its launcher, followed, started again after an eviction, brought home.

The worker keeps the claim and the word on how the run ended. A worker that is told to stop, or dies, leaves the job
running: who claims the run next finds it by the run's row and goes on watching.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from services.trainer.adapters.distributed.exchange import pass_on
from services.trainer.adapters.launching.mailbox import Mailbox, read_new
from services.trainer.domain.launching.endings import (
    Ending,
    LauncherDenied,
    LauncherRefused,
    LauncherUnavailable,
    Outcome,
    QuotaReached,
    RemoteRun,
    assess_ending,
)
from services.trainer.domain.launching.limits import (
    SHORTEST_START,
    calculate_allowed_seconds,
    explain_overrun,
)
from services.trainer.domain.launching.orders import Addresses, LaunchOrder, name_job, write_arguments
from services.trainer.domain.launching.records import RemoteRecord, dump_record, parse_record
from services.trainer.domain.planning.planner import shrink_often
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult
from services.trainer.handlers.claim import Claim
from services.trainer.handlers.remote_files import Offer, RemoteFiles
from services.trainer.handlers.waiting import Waiting
from services.trainer.ports import RunReporter
from services.trainer.repository import load_now
from shared.artifacts import ArtifactCorrupt, ArtifactStoreUnavailable
from shared.errors import StaleClaim
from shared.tables.trainer import Run

logger = structlog.get_logger(__name__)

T = TypeVar("T")
CHECK_SECONDS = 0.5
"""So often a worker that waits looks whether the run is still its own."""
QUOTA_POLLS = 6
"""An engine without room is asked again after so many pauses."""
LONGEST_PAUSE = 900.0
"""Seconds before a run is started again that stores no checkpoint any more."""
MAX_LOSSES = 2
"""Starts on several machines that end without knowing why, and without a checkpoint between: a mistake, no loss."""
WORDS = {"evicted": "evicted from", "memory": "memory ran out at", "lost": "machines lost each other at"}
END_SECONDS = 30.0
"""How long a job may take to end once its outcome is there."""


class RemoteTraining:
    """One worker's part in a run that trains elsewhere."""

    def __init__(
        self,
        run: Run,
        claim: Claim,
        reporter: RunReporter,
        offer: Offer,
        files: RemoteFiles,
        *,
        poll_seconds: float,
        patience_seconds: float,
    ) -> None:
        self._run, self._claim, self._reporter, self._offer, self._files = run, claim, reporter, offer, files
        self._poll_seconds, self._patience_seconds = poll_seconds, patience_seconds

    def train(self, job: Job) -> TrainingResult:
        """Have the job trained, and bring the candidate home.

        Raises:
            TrainingFailed: it failed, or would go beyond its limits.
            Interrupted: the worker was told to stop; the job runs on.
            LauncherUnavailable: the engine, or the store, does not answer for too long; the job may run on.
            StaleClaim: another worker has the run, or it was cancelled or closed.
        """
        instances = job.recipe.parallelism.nodes
        calculate_allowed_seconds(self._offer.limits, instances)  # refuses too many machines before anything is stored
        record = parse_record(self._run.remote) or RemoteRecord(launcher=self._offer.name, began=self._load_now())
        if record.handle is not None:
            self._reporter.on_note(f"found again at {record.launcher}: {record.handle}")
        elif record.number == 1:  # another worker may have waited for room, which costs nothing
            record = replace(record, began=self._load_now())
        addresses = self._patiently(lambda: self._files.locate(self._run, job))
        while True:
            if record.handle is None:
                if record.keys or record.number == 1:  # what starts before this one stored has no seal else
                    record = record.trust(self._files.public_key)
                record = self._start(record, self._make_order(job, addresses, record))
            ending, outcome, record = self._follow(record, instances)
            if ending.kind == "trained" and outcome is not None and outcome.result is not None:
                self._bring_home(record, outcome, job)
                return outcome.result
            record = self._prepare_next(record, ending)

    def _make_order(self, job: Job, addresses: Addresses, record: RemoteRecord) -> LaunchOrder:
        """Make the order of the next start: it gets what the starts before have left of the run's time."""
        parallelism = job.recipe.parallelism
        allowed = calculate_allowed_seconds(self._offer.limits, parallelism.nodes)
        seconds = int(max(allowed - self._count_spent(record, parallelism.nodes), SHORTEST_START))
        recipe = shrink_often(job.recipe, record.shrunk)
        if recipe is None:
            raise TrainingFailed("out of memory with the smallest micro-batch that there is", "memory")
        address = self._patiently(lambda: self._files.store_recipe(recipe, str(record.shrunk)))
        arguments = write_arguments(
            address, addresses, record.number, threads=0, max_seconds=seconds, trusted=record.keys
        )
        return LaunchOrder(
            name=name_job(self._run.run_id, record.number),
            arguments=arguments,
            nodes=parallelism.nodes,
            processes=parallelism.processes // parallelism.nodes,
            max_seconds=seconds,
            environment=self._offer.environment | self._files.environment,
        )

    def _start(self, record: RemoteRecord, order: LaunchOrder) -> RemoteRecord:
        """Start it, or find what an earlier worker started. Waits while the engine has no room."""
        self._save(record)
        while True:
            try:
                handle = self._patiently(lambda: self._offer.launcher.start(order))
            except QuotaReached as error:
                record = self._note_refusal(record, error)
                self._wait(QUOTA_POLLS * self._poll_seconds)
                continue
            logger.info("remote_run_started", launcher=record.launcher, handle=handle, number=record.number)
            return self._save_started(record, handle)

    def _note_refusal(self, record: RemoteRecord, error: QuotaReached) -> RemoteRecord:
        """Note since when the engine has no room, for later workers too. Raises: TrainingFailed: for too long."""
        now = self._load_now()
        since = record.refused_at or now
        if now - since > timedelta(minutes=self._offer.limits.max_quota_wait_minutes):
            raise TrainingFailed(f"no room at {record.launcher}: {error.detail}", "launcher") from error
        self._reporter.on_note(f"waiting for room at {record.launcher}: {error.detail}")
        return self._save(replace(record, refused_at=since))

    def _save_started(self, record: RemoteRecord, handle: str) -> RemoteRecord:
        """Save what was started; what belongs to nobody by now is ended. Raises: StaleClaim."""
        try:
            began = self._load_now() if record.number == 1 else record.began  # waiting for room costs nothing
            return self._save(replace(record, handle=handle, began=began, refused_at=None))
        except StaleClaim:
            if self._claim.is_finished():  # else another worker finds the job by its name
                self._offer.launcher.cancel(handle)
            raise

    def _follow(self, record: RemoteRecord, instances: int) -> tuple[Ending, Outcome | None, RemoteRecord]:
        """Pass on what the run reports until it is over."""
        launcher, handle = self._offer.launcher, record.handle
        assert handle is not None
        mailbox = self._mailbox(record)
        waiting = Waiting()
        while True:
            record = self._patiently(partial(self._relay, mailbox, record))
            outcome = self._patiently(mailbox.read_outcome)
            state = self._patiently(lambda: launcher.look(handle))
            if state.log_url != record.logs:
                record = self._save(replace(record, logs=state.log_url))
            if outcome is not None or state.is_over:
                return self._settle(record, mailbox, state, instances)
            self._count_spent(record, instances)
            self._check_waiting(waiting, state, record)
            self._wait(self._poll_seconds)

    def _check_waiting(self, waiting: Waiting, state: RemoteRun, record: RemoteRecord) -> None:
        """Say what a job waits for that its engine took and has no machines for. Raises: TrainingFailed: too long."""
        if waiting.is_new(state):
            self._reporter.on_note(f"waiting for machines at {record.launcher}: {state.reason or state.state}")
        if waiting.seconds > self._offer.limits.max_quota_wait_minutes * 60:
            minutes = waiting.seconds / 60
            raise TrainingFailed(f"no room at {record.launcher} for {minutes:.0f} min: {state.reason}", "launcher")

    def _count_spent(self, record: RemoteRecord, instances: int) -> float:
        """Count the seconds since the run's first start. Raises: TrainingFailed: they are more than it may have."""
        spent = (self._load_now() - record.began).total_seconds()
        if problem := explain_overrun(self._offer.limits, instances, spent):
            raise TrainingFailed(problem, "launcher")
        return spent

    def _settle(
        self, record: RemoteRecord, mailbox: Mailbox, state: RemoteRun, instances: int
    ) -> tuple[Ending, Outcome | None, RemoteRecord]:
        """Read the run's last words, see to it that nothing of it goes on, and judge how it ended."""
        assert record.handle is not None
        state = self._let_end(record.handle, state)
        record = self._patiently(lambda: self._relay(mailbox, record))
        outcome = self._patiently(mailbox.read_outcome)
        others = self._patiently(lambda: mailbox.read_others(instances))
        tail = ""
        if outcome is None and state.state in ("succeeded", "failed"):
            tail = self._patiently(lambda: self._offer.launcher.read_log(record.handle or ""))
        return assess_ending(state, outcome, tail, others), outcome, record

    def _let_end(self, handle: str, state: RemoteRun) -> RemoteRun:
        deadline = time.monotonic() + END_SECONDS
        while not state.is_over and time.monotonic() < deadline:
            self._wait(min(self._poll_seconds, 2.0))
            state = self._patiently(lambda: self._offer.launcher.look(handle))
        if not state.is_over:
            self._patiently(lambda: self._offer.launcher.cancel(handle))
        return state

    def _relay(self, mailbox: Mailbox, record: RemoteRecord) -> RemoteRecord:
        read, gained = record.reports, record.gained
        for number, lines in read_new(mailbox, record.reports):
            read = number
            for line in lines:
                if line[0] == "checkpoint":  # it is in the store, and not on this disk
                    gained = True
                else:
                    pass_on(line, self._reporter)
            if self._reporter.stopping:
                break
        return record if read == record.reports else self._save(replace(record, reports=read, gained=gained))

    def _bring_home(self, record: RemoteRecord, outcome: Outcome, job: Job) -> None:
        mailbox = self._mailbox(record)
        self._patiently(lambda: mailbox.fetch_candidate(job.candidate, outcome.candidate_sha256))
        self._save(replace(record, open=False))

    def _prepare_next(self, record: RemoteRecord, ending: Ending) -> RemoteRecord:
        """Say how the next start begins, after a pause that grows while no checkpoint is stored.

        Raises:
            TrainingFailed: there is no next start.
        """
        if ending.kind in ("failed", "trained"):
            raise TrainingFailed(ending.reason or "its outcome has no result", ending.cause)
        following = record.next_start(ending.kind)
        if following.losses >= MAX_LOSSES:
            raise TrainingFailed(f"ended alike {following.losses} times without a checkpoint: {ending.reason}", "error")
        if following.evictions > self._offer.limits.max_evictions:
            reason = f"evicted {following.evictions} times, the last time: {ending.reason}"
            raise TrainingFailed(reason, "launcher")
        self._reporter.on_note(f"{WORDS[ending.kind]} {record.launcher}: {ending.reason}; starting again")
        if following.fruitless:
            self._wait(min(QUOTA_POLLS * self._poll_seconds * 2.0 ** (following.fruitless - 1), LONGEST_PAUSE))
        return following

    def _mailbox(self, record: RemoteRecord) -> Mailbox:
        return Mailbox(self._files.open(record.keys), record.number)

    def _save(self, record: RemoteRecord) -> RemoteRecord:
        with self._claim.locked() as (_, held):
            held.remote = dump_record(record)
        return record

    def _load_now(self) -> datetime:
        with self._claim.locked() as (session, _):
            return load_now(session)

    def _patiently(self, action: Callable[[], T]) -> T:
        """Call until it answers, for as long as the patience lasts. Raises: LauncherUnavailable, TrainingFailed."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                return action()
            except (LauncherDenied, LauncherRefused) as error:
                raise TrainingFailed(f"{self._offer.name}: {error.detail}", "launcher") from error
            except ArtifactCorrupt as error:
                raise TrainingFailed(f"what its machines stored does not verify: {error.detail}", "launcher") from error
            except (LauncherUnavailable, ArtifactStoreUnavailable) as error:
                if time.monotonic() > deadline:
                    raise LauncherUnavailable(f"{self._offer.name}: {error.detail}") from error
                logger.warning("launcher_unavailable", launcher=self._offer.name, error=error.detail)
            self._wait(self._poll_seconds)

    def _wait(self, seconds: float) -> None:
        """Wait, and look meanwhile whether the run is still ours. Raises: StaleClaim, Interrupted."""
        deadline = time.monotonic() + seconds
        while True:
            self._reporter.on_micro_step()
            if self._reporter.stopping:
                raise Interrupted("while the run trains elsewhere")
            if (left := deadline - time.monotonic()) <= 0:
                return
            time.sleep(min(left, CHECK_SECONDS))
