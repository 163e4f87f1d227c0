"""Schema `trainer` in SQL; time is the database's."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from services.trainer.domain.planning.scheduling import Share, WaitingRun
from services.trainer.domain.replay import EarlierSnapshot
from services.trainer.domain.training import CAUSES
from shared.errors import NotFound, StaleClaim
from shared.tables.curator import Dataset, LoopSwitch, RetrainRequestRow
from shared.tables.evaluator import Evaluation
from shared.tables.trainer import Run

OPEN_STATES = ("queued", "running")
FINISHED_STATES = ("succeeded", "failed", "cancelled")


def load_now(session: Session) -> datetime:
    """Load the database's time."""
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now


def insert_run(session: Session, run: dict[str, Any]) -> bool:
    """Store a new run; False when its request has one already by that recipe."""
    values = {getattr(Run, name): value for name, value in run.items()}
    return session.scalar(insert(Run).values(values).on_conflict_do_nothing().returning(Run.run_id)) is not None


def load_run(session: Session, run_id: UUID) -> Run:
    """Load a run. Raises: NotFound."""
    run = session.get(Run, run_id)
    if run is None:
        raise NotFound(f"no run {run_id}")
    return run


def load_run_for_update(session: Session, run_id: UUID) -> Run:
    """Load the run and lock it until the transaction ends. Raises: NotFound."""
    run = session.get(Run, run_id, with_for_update=True, populate_existing=True)
    if run is None:
        raise NotFound(f"no run {run_id}")
    return run


def list_siblings(session: Session, run: Run) -> Sequence[Run]:
    """List the other runs of the run's request, in the order of its recipes."""
    others = select(Run).where(Run.request_id == run.request_id, Run.run_id != run.run_id)
    return session.scalars(others.order_by(Run.recipe_position), execution_options={"populate_existing": True}).all()


def list_runs(session: Session, *, state: str | None, limit: int) -> Sequence[Run]:
    """List runs, newest first."""
    statement = select(Run).order_by(Run.created_at.desc(), Run.run_id.desc()).limit(limit)
    return session.scalars(statement.where(Run.state == state) if state else statement).all()


def list_open_runs(session: Session) -> Sequence[Run]:
    """List queued and running runs, oldest first."""
    return session.scalars(select(Run).where(Run.state.in_(OPEN_STATES)).order_by(Run.created_at)).all()


def count_runs(session: Session) -> dict[str, int]:
    """Count the runs in each state."""
    rows = session.execute(select(Run.state, func.count()).group_by(Run.state)).all()
    return dict.fromkeys(OPEN_STATES + FINISHED_STATES, 0) | {row[0]: row[1] for row in rows}


def count_guarded_runs(session: Session) -> dict[str, int]:
    """Count the runs that a guard ended, by what it said."""
    action = Run.progress["guard"].astext
    rows = session.execute(select(action, func.count()).where(action.is_not(None)).group_by(action)).all()
    return {"finish": 0, "stop": 0} | {row[0]: row[1] for row in rows}


def count_failed_runs(session: Session) -> dict[str, int]:
    """Count the failed runs by cause; runs from before causes were written down are left out."""
    cause = Run.progress["cause"].astext
    failed = select(cause, func.count()).where(Run.state == "failed", cause.is_not(None)).group_by(cause)
    return dict.fromkeys(CAUSES, 0) | {row[0]: row[1] for row in session.execute(failed).all()}


def mark_enqueued(session: Session, run_id: UUID, at: datetime) -> None:
    """Save when a worker was last woken for the run."""
    session.execute(update(Run).where(Run.run_id == run_id).values(enqueued_at=at))


def load_snapshots(session: Session, dataset_sha256: str) -> list[EarlierSnapshot]:
    """Load what the datasets before this one held, newest first; an erased one is its successor."""
    ancestry = _load_ancestry(session, dataset_sha256)
    return [_describe(dataset, _load_successor(session, dataset)) for dataset in ancestry]


def _describe(dataset: Dataset, successor: Dataset | None) -> EarlierSnapshot:
    name = dataset.dataset_sha256[:12]
    if successor is None:
        return EarlierSnapshot(name, frozenset(), "erased, and nothing was left of it")
    manifest = successor.manifest
    return EarlierSnapshot(name, frozenset([*manifest.get("pair_ids", ()), *manifest.get("label_ids", ())]))


def _load_ancestry(session: Session, dataset_sha256: str) -> list[Dataset]:
    """Load the datasets before this one, newest first; erased ones too, which hold no more than their hash."""
    chain: list[Dataset] = []
    seen = {dataset_sha256}
    dataset = session.get(Dataset, dataset_sha256)
    while dataset is not None and dataset.parent_sha256 is not None and dataset.parent_sha256 not in seen:
        seen.add(dataset.parent_sha256)
        dataset = session.get(Dataset, dataset.parent_sha256)
        if dataset is not None:
            chain.append(dataset)
    return chain


def _load_successor(session: Session, dataset: Dataset) -> Dataset | None:
    """Load the dataset, or what replaced it after erasures; None when nothing was left."""
    found: Dataset | None = dataset
    while found is not None and found.erased_at is not None:
        found = session.get(Dataset, found.replaced_by) if found.replaced_by else None
    return found


def is_paused(session: Session) -> bool:
    """Tell whether an admin has paused the whole loop."""
    return bool(session.scalar(select(LoopSwitch.paused)))


def _is_claimable(heartbeat_timeout: timedelta) -> ColumnElement[bool]:
    """Queued, or left by a worker that is silent."""
    now = func.clock_timestamp()
    is_silent = (Run.state == "running") & (Run.heartbeat_at < now - heartbeat_timeout)
    return (Run.deadline_at > now) & or_(Run.state == "queued", is_silent)


def list_waiting_runs(session: Session, device: str | None, heartbeat_timeout: timedelta) -> list[WaitingRun]:
    """List the runs that a worker may take from the queue of this kind of device."""
    kind = Run.recipe["device"].astext
    wanted = kind.is_(None) if device is None else kind == device
    query = select(Run.run_id, Run.requested_by, Run.created_at).where(_is_claimable(heartbeat_timeout), wanted)
    return [WaitingRun(run_id, requester, at) for run_id, requester, at in session.execute(query)]


def count_shares(session: Session, heartbeat_timeout: timedelta) -> dict[str, Share]:
    """Count what each requester with a run that is not finished has had of the workers."""
    asking = select(Run.requested_by).where(Run.state.in_(OPEN_STATES))
    is_alive = Run.heartbeat_at >= func.clock_timestamp() - heartbeat_timeout
    running = func.count().filter(Run.state == "running", is_alive)
    last_end = func.max(Run.finished_at).filter(Run.started_at.is_not(None))
    query = select(Run.requested_by, running, last_end).where(Run.requested_by.in_(asking)).group_by(Run.requested_by)
    return {requester: Share(count, end) for requester, count, end in session.execute(query)}


def claim_run(session: Session, run_id: UUID, worker: str, heartbeat_timeout: timedelta) -> Run | None:
    """Take the run if nobody alive has it: one statement, so of two workers one gets it. The token grows each time."""
    now = func.clock_timestamp()
    statement = (
        update(Run)
        .where(Run.run_id == run_id, _is_claimable(heartbeat_timeout))
        .values(
            state="running",
            fencing_token=Run.fencing_token + 1,
            worker=worker,
            heartbeat_at=now,
            started_at=func.coalesce(Run.started_at, now),
        )
        .returning(Run)
    )
    return session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()


def _is_claim(run_id: UUID, token: int) -> ColumnElement[bool]:
    return (Run.run_id == run_id) & (Run.fencing_token == token) & (Run.state == "running")


def save_heartbeat(session: Session, run_id: UUID, token: int, progress: dict[str, Any]) -> bool:
    """Save a sign of life; False when the run is no longer this worker's, or was cancelled or closed."""
    statement = (
        update(Run)
        .where(_is_claim(run_id, token))
        .values(heartbeat_at=func.clock_timestamp(), progress=progress)
        .returning(Run.run_id)
    )
    return session.scalar(statement) is not None


def lock_claim(session: Session, run_id: UUID, token: int) -> Run:
    """Lock the run until the transaction ends: whoever wants to take it over waits.

    Raises:
        StaleClaim: it is no longer this worker's, or was cancelled or closed.
    """
    run = session.scalars(
        select(Run).where(_is_claim(run_id, token)).with_for_update(), execution_options={"populate_existing": True}
    ).one_or_none()
    if run is None:
        raise StaleClaim(f"run {run_id} is no longer held with token {token}")
    return run


def release_run(session: Session, run_id: UUID, token: int, progress: dict[str, Any]) -> bool:
    """Hand the run back to the queue; False when it was not this worker's any more."""
    statement = (
        update(Run)
        .where(_is_claim(run_id, token))
        .values(state="queued", worker=None, heartbeat_at=None, enqueued_at=None, progress=progress)
        .returning(Run.run_id)
    )
    return session.scalar(statement) is not None


def list_left_running(session: Session, silent_for: timedelta = timedelta(0)) -> Sequence[Run]:
    """List the runs that are over for us, for at least so long, while their job elsewhere may still run."""
    before = func.clock_timestamp() - silent_for
    is_open = Run.remote["open"].as_boolean()
    statement = select(Run).where(Run.state.in_(FINISHED_STATES), is_open, Run.finished_at <= before)
    return session.scalars(statement.order_by(Run.finished_at)).all()


def close_remote(session: Session, run_id: UUID) -> None:
    """Save that nothing of a finished run runs elsewhere any more."""
    run = load_run_for_update(session, run_id)
    run.remote = (run.remote or {}) | {"open": False}


def list_unanswered_runs(session: Session, announced_before: datetime, now: datetime) -> Sequence[Run]:
    """Return finished runs, announced before that time and still within their deadline, whose successor is not there.

    The successor of a success is the request's evaluation; where no run of the request succeeded, the closing of the
    request. Both come once all its runs have finished.
    """
    sibling = aliased(Run)
    evaluated = exists().where(Evaluation.request_id == Run.request_id)
    waiting = exists().where(RetrainRequestRow.request_id == Run.request_id, RetrainRequestRow.state == "open")
    of_request = sibling.request_id == Run.request_id
    going_on = exists().where(of_request, sibling.state.in_(OPEN_STATES))
    trained = exists().where(of_request, sibling.state == "succeeded")
    statement = select(Run).where(
        Run.state.in_(FINISHED_STATES),
        Run.announced_at < announced_before,
        Run.deadline_at > now,
        ~going_on,
        ((Run.state == "succeeded") & ~evaluated) | (~trained & waiting),
    )
    return session.scalars(statement.with_for_update(skip_locked=True)).all()
