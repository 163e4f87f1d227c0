"""Open, announce and close requests to retrain; follow the routing table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.orm import Session

from services.curator.cells.ports import Embedder
from services.curator.config.settings import CuratorSettings
from services.curator.datasets import repository as datasets
from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import freeze_dataset
from services.curator.requests import repository as requests
from services.curator.requests.domain import derive_outcome, derive_training_outcome, explain_repetition
from services.curator.requests.repository import Champion, load_champion
from shared.artifacts import open_artifacts
from shared.db import SessionFactory, lock_all
from shared.errors import Conflict
from shared.events import EvaluationCompleted, Reason, RetrainRequested, RolloutAdvanced, TrainingCompleted
from shared.ids import new_id
from shared.outbox import announce_again, append_event
from shared.rollouts import FINAL_STATES
from shared.settings import Settings
from shared.tables.curator import Outbox, RetrainRequestRow

logger = structlog.get_logger(__name__)


class UnchangedDataset(Conflict):
    title = "Dataset has not changed"


MONITOR = "monitor"
"""The requester that the drift monitor is."""


def request_retrain(
    session: Session,
    *,
    settings: Settings,
    curator: CuratorSettings,
    embedder: Embedder,
    reasons: list[Reason],
    now: datetime,
    requested_by: str = MONITOR,
    force: bool = False,
    recipes: Sequence[str] = (),
) -> RetrainRequestRow:
    """Freeze a dataset and announce a request for retraining on it, if the session's transaction commits.

    `recipes`: in place of those of the settings; of several, at most one candidate goes on.

    Raises:
        UnchangedDataset: a model was trained on the same rows already, or they failed too often; not if forced.
        Conflict: the loop is paused, a request is open, or no champion is known.
        InvalidRequest: there is nothing to train on.
    """
    lock_all(session, ["retrain"])
    wanted = list(recipes) or curator.list_recipes()
    champion = _find_parent(session, settings.family)
    caps = Caps(curator.pairs_per_user, curator.pairs_per_prompt, curator.group_weight_share)
    artifacts = open_artifacts(settings)
    dataset = freeze_dataset(
        session, settings.datasets, artifacts, caps, embedder=embedder, parent_version=champion.version, now=now
    )
    if not force:
        _refuse_repetition(session, dataset.dataset_sha256)
    row = RetrainRequestRow(
        request_id=new_id(),
        dataset_sha256=dataset.dataset_sha256,
        parent_version=champion.version,
        reasons=[msgspec.to_builtins(reason) for reason in reasons],
        recipe=wanted[0] if wanted else None,
        recipes=wanted if len(wanted) > 1 else None,
        requested_by=requested_by,
        state="open",
        requested_at=now,
        deadline_at=now + timedelta(seconds=curator.request_deadline_seconds),
        announced_at=now,
    )
    session.add(row)
    session.flush()
    announce_request(session, row, dataset.uri, topic_prefix=settings.topic_prefix)
    logger.info("retrain_requested", request_id=str(row.request_id), dataset=dataset.dataset_sha256)
    return row


def _find_parent(session: Session, family: str) -> Champion:
    """Find the champion to train from, if a request may be opened now."""
    if requests.is_paused(session):
        raise Conflict("the loop is paused")
    if (open_request := requests.load_open_request(session)) is not None:
        raise Conflict(f"request {open_request.request_id} is open until {open_request.deadline_at.isoformat()}")
    if (champion := load_champion(session, family)) is None:
        raise Conflict(f"no champion of {family} is known yet: adopt one first")
    return champion


def _refuse_repetition(session: Session, dataset_sha256: str) -> None:
    if (reason := explain_repetition(requests.list_earlier(session, dataset_sha256))) is not None:
        raise UnchangedDataset(f"dataset {dataset_sha256[:12]} has not changed: {reason}; `force` overrides")


def announce_request(session: Session, row: RetrainRequestRow, dataset_uri: str, *, topic_prefix: str) -> None:
    """Announce an open request, for the first time or again."""
    event = RetrainRequested(
        request_id=row.request_id,
        reasons=msgspec.convert(row.reasons, list[Reason]),
        dataset_sha256=row.dataset_sha256,
        dataset_uri=dataset_uri,
        parent_version=row.parent_version,
        requested_at=row.requested_at,
        deadline_at=row.deadline_at,
        recipe=row.recipe,
        recipes=row.recipes,
        requested_by=row.requested_by,
    )
    append_event(session, Outbox, event, source="curator", topic_prefix=topic_prefix)


def close_on_training(session: Session, event: TrainingCompleted) -> None:
    """Close the request of a run that failed or was cancelled, if that was the last of its runs and none succeeded."""
    runs = requests.list_states_of_runs(session, event.request_id) or [event.outcome]
    outcome = derive_training_outcome(runs)
    if outcome is not None:
        close_request(session, event.request_id, outcome, None)


def close_on_evaluation(session: Session, event: EvaluationCompleted) -> None:
    """Close the request of a candidate that did not pass."""
    if event.verdict != "pass":
        close_request(session, event.request_id, f"evaluation_{event.verdict}", event.candidate_version)


def close_on_rollout(session: Session, event: RolloutAdvanced) -> None:
    """Close the request of a rollout that is over."""
    if event.state in FINAL_STATES and event.request_id is not None:
        close_request(session, event.request_id, event.state, event.candidate_version)


def close_request(session: Session, request_id: UUID, outcome: str, candidate_version: str | None) -> None:
    """Close a request that is open; its first outcome stays."""
    row = requests.load_request(session, request_id)
    if row is None or row.state == "closed":
        return
    row.state = "closed"
    row.outcome = outcome
    row.candidate_version = candidate_version
    row.closed_at = datetime.now(UTC)
    logger.info("request_closed", request_id=str(request_id), outcome=outcome)


def follow_routing(session: Session, event: RolloutAdvanced) -> None:
    """Keep the routing table of the highest (epoch, generation); `champion_since` moves with the champion."""
    table = event.routing
    values = {
        "generation": table.generation,
        "champion_version": table.champion.version,
        "champion_since": event.at,
        "table": msgspec.to_builtins(table),
    }
    requests.insert_routing(session, table.family, values)
    row = requests.load_routing_for_update(session, table.family)
    if row is None or (row.table.get("epoch", 0), row.generation) >= (table.epoch, table.generation):
        return
    if row.champion_version != table.champion.version:
        row.champion_version = table.champion.version
        row.champion_since = event.at
    row.generation = table.generation
    row.table = values["table"]


def close_ended_request(session: Session) -> str | None:
    """Close the open request if the other services' rows say that it is over: the event that says so may be lost.

    Returns:
        Its outcome, if it was closed.
    """
    found = requests.load_open_request_progress(session)
    if found is None:
        return None
    request_id, progress = found
    outcome = derive_outcome(progress)
    if outcome is not None:
        close_request(session, request_id, outcome, progress.candidate_version)
    return outcome


@dataclass(frozen=True)
class RequestSweeper:
    """Looks after the open request: closes it past its deadline, announces it again while no run takes it up."""

    sessions: SessionFactory
    settings: CuratorSettings
    topic_prefix: str

    def sweep(self, now: datetime) -> None:
        with self.sessions() as session, session.begin():
            close_late_request(session, now)
        announce_again(self.sessions, partial(self._list_unanswered, now=now), partial(self._announce, now=now))

    def _list_unanswered(self, session: Session, now: datetime) -> list[RetrainRequestRow]:
        """List the open request, if it was announced a while ago and has no run."""
        row = requests.load_open_request(session)
        patience = timedelta(seconds=self.settings.announce_again_seconds)
        if row is None or now >= row.deadline_at or now - row.announced_at < patience:
            return []
        return [] if requests.has_run(session, row.request_id) else [row]

    def _announce(self, session: Session, row: RetrainRequestRow, now: datetime) -> None:
        if (dataset := datasets.load_dataset(session, row.dataset_sha256)) is not None:
            row.announced_at = now
            announce_request(session, row, dataset.uri, topic_prefix=self.topic_prefix)


def close_late_request(session: Session, now: datetime) -> None:
    """Close the open request past its deadline, unless its rollout goes on."""
    row = requests.load_open_request(session)
    if row is not None and now >= row.deadline_at and not requests.has_rollout(session, row.request_id):
        close_request(session, row.request_id, "deadline", None)
