"""A worker executes a run: it claims one, trains, registers the candidate, and writes down how the run ended."""

from contextlib import suppress
from pathlib import Path
from uuid import UUID

import structlog

from services.trainer import repository
from services.trainer.adapters.artifacts.checkpoints import delete_folder, delete_rows, has_trained
from services.trainer.adapters.launching.mailbox import CANDIDATE
from services.trainer.domain.launching.endings import LauncherUnavailable
from services.trainer.domain.launching.orders import name_job
from services.trainer.domain.training import CandidateNotRegistered, Cause, Interrupted, TrainingFailed
from services.trainer.handlers.attempt import run_attempt
from services.trainer.handlers.claim import Claim, claim_next
from services.trainer.handlers.completion import finish_run
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.registry_calls import RegistryUnavailable
from shared.db import is_transient
from shared.errors import HeliotropeError, StaleClaim, describe_error
from shared.tables.trainer import Run

logger = structlog.get_logger(__name__)

FAILURES = "registration_failures"
"""In a run's progress: how often something failed after it had trained its candidate."""
MAX_FAILURES = 3
"""Then the run fails; its candidate stays where it is."""


def execute_next_run(device: str | None, context: WorkerContext) -> None:
    """Execute the run that is next for this kind of device, if one waits that nobody else takes.

    Every way it can end is on its row and, when final, announced.
    """
    end_left_running(context)
    _clean_up_finished(context)
    run = claim_next(context.sessions, device, context.worker, context.heartbeat_timeout)
    if run is None:
        logger.info("no_run_claimed", device=device)
        return
    with structlog.contextvars.bound_contextvars(run_id=str(run.run_id), request_id=str(run.request_id)):
        logger.info("run_claimed", token=run.fencing_token)
        with _hold(run, context) as claim:
            try:
                _execute_claimed(run, claim, context)
            finally:
                context.mirror.leave()


def _hold(run: Run, context: WorkerContext) -> Claim:
    return Claim(
        context.sessions,
        run.run_id,
        run.fencing_token,
        heartbeat_seconds=context.heartbeat_seconds,
        timeout_seconds=context.heartbeat_timeout.total_seconds(),
        progress={name: run.progress[name] for name in ("notes", FAILURES) if name in run.progress},
    )


def _execute_claimed(run: Run, claim: Claim, context: WorkerContext) -> None:
    try:
        run_attempt(run, claim, context)
    except StaleClaim as error:
        logger.warning("run_given_up", reason=error.detail)
    except (RegistryUnavailable, LauncherUnavailable) as error:
        claim.add_note(f"handed back: {error.detail}")
        claim.release()
        logger.warning("run_released", reason=error.detail)
        return
    except Interrupted as error:
        claim.release()
        logger.info("run_released", reason=error.detail)
        return
    except CandidateNotRegistered as error:
        failures = run.progress.get(FAILURES, 0) + 1
        logger.exception("candidate_not_registered", failures=failures)
        if failures < MAX_FAILURES:
            claim.report(**{FAILURES: failures})
            claim.add_note(f"handed back with its candidate: {error.detail}")
            claim.release()
            return
        _fail(claim, context, error)
    except Exception as error:
        if is_transient(error):  # the database is away: the sweeper finds the run, and the next worker its checkpoint
            raise
        logger.error("run_failed", exc_info=not isinstance(error, HeliotropeError), reason=str(error))
        _fail(claim, context, error)
    end_left_running(context)
    _clean_up_if_finished(run.run_id, context)


def end_left_running(context: WorkerContext) -> None:
    """End the jobs elsewhere of runs that are over for us: cancelled, past their deadline, failed by a limit.

    A start whose answer never came is ended by the job's name. One whose engine does not answer, or whose launcher
    this worker lacks, is left for the next look; the sweeper sees to it that there is one.
    """
    with context.sessions() as session:
        left = repository.list_left_running(session)
    for run in left:
        remote = run.remote or {}
        offer = context.offers.get(remote["launcher"])
        if offer is None:  # its row stays open for a worker that knows the launcher
            logger.error(
                "remote_run_not_ended", run_id=str(run.run_id), error=f"no launcher {remote['launcher']!r} here"
            )
            continue
        job = remote.get("handle") or name_job(run.run_id, remote.get("number", 1))
        try:
            offer.launcher.cancel(job)
        except HeliotropeError as problem:
            logger.warning("remote_run_not_ended", run_id=str(run.run_id), error=problem.detail)
            continue
        with context.sessions() as session, session.begin():
            repository.close_remote(session, run.run_id)
        logger.info("remote_run_ended", run_id=str(run.run_id), handle=job)


def _fail(claim: Claim, context: WorkerContext, error: Exception) -> None:
    claim.report(cause=_classify(error))
    try:
        with claim.ending() as (session, held):
            finish_run(session, held, "failed", describe_error(error), topic_prefix=context.topic_prefix)
    except StaleClaim as stale:
        logger.warning("run_given_up", reason=stale.detail)


def _clean_up_if_finished(run_id: UUID, context: WorkerContext) -> None:
    """Delete a finished run's files and end its tracking, by whoever's hand it ended. Neither may fail it.

    What a run has trained that failed afterwards stays, for people to look at; the rows that it was trained on do not.
    """
    with context.sessions() as session:
        run = repository.load_run(session, run_id)
    if run.state in repository.OPEN_STATES:
        return
    _delete_files(run, context)
    try:
        if run.mlflow_run_id:
            context.registry.end_run(run.mlflow_run_id, succeeded=run.state == "succeeded")
    except Exception as error:
        logger.warning("tracking_run_not_ended", error=repr(error))
    facts = {name: getattr(run, name) for name in ("reason", "candidate_version", "weights_sha256")}
    context.mirror.end(run.state, facts)


def _delete_files(run: Run, context: WorkerContext) -> None:
    folder = context.runs_folder / str(run.run_id)
    if _failed_after_training(run, folder) or _is_kept_elsewhere(run, context):
        delete_rows(folder)
        context.storage.delete_rows(run.run_id)
        return
    delete_folder(folder)
    context.storage.delete(run.run_id)


def _clean_up_finished(context: WorkerContext) -> None:
    """Delete what is left here of runs that have ended elsewhere: their last attempt was not this machine's."""
    for folder in context.runs_folder.iterdir() if context.runs_folder.exists() else ():
        with suppress(ValueError), context.sessions() as session:  # what else lies there is not ours
            run = session.get(Run, UUID(folder.name))
            if run is not None and run.state not in repository.OPEN_STATES:
                _delete_files(run, context)


def _failed_after_training(run: Run, folder: Path) -> bool:
    """Tell whether the weights were trained, or were being saved, when it failed; a guard's verdict is no failure."""
    was_trained = has_trained(folder) or str(run.progress.get("phase", "")).endswith("saving")
    return run.state == "failed" and run.progress.get("cause") != "guard" and was_trained


def _is_kept_elsewhere(run: Run, context: WorkerContext) -> bool:
    """Tell whether machines elsewhere stored what was paid for.

    That is a candidate that nobody has fetched; where a deadline, a limit or the engine ended the run, checkpoints too.
    """
    cause = run.progress.get("cause")
    if run.state != "failed" or run.remote is None or cause == "guard":
        return False
    checkpoints = ("checkpoints",) if cause in ("deadline", "launcher") else ()
    return context.storage.holds_remote(run.run_id, CANDIDATE, *checkpoints)


def _classify(error: Exception) -> Cause:
    if isinstance(error, TrainingFailed):
        return error.cause
    if isinstance(error, CandidateNotRegistered):
        return "registration"
    return "setup" if isinstance(error, HeliotropeError) else "error"
