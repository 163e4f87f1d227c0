"""What became of a request, and who is champion now."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.orm import Session

from services.curator.repository import requests
from shared.events import EvaluationCompleted, RolloutAdvanced, TrainingCompleted
from shared.rollouts import FINAL_STATES

logger = structlog.get_logger(__name__)


def close_on_training(session: Session, event: TrainingCompleted) -> None:
    """A run that failed or was cancelled ends its request."""
    if event.outcome != "succeeded":
        close_request(session, event.request_id, f"training_{event.outcome}", None)


def close_on_evaluation(session: Session, event: EvaluationCompleted) -> None:
    """A candidate that did not pass ends its request."""
    if event.verdict != "pass":
        close_request(session, event.request_id, f"evaluation_{event.verdict}", event.candidate_version)


def close_on_rollout(session: Session, event: RolloutAdvanced) -> None:
    """A rollout that is over ends its request."""
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
    """Keep the routing table of the highest generation; `champion_since` moves with the champion."""
    table = event.routing
    values = {
        "generation": table.generation,
        "champion_version": table.champion.version,
        "champion_since": event.at,
        "table": msgspec.to_builtins(table),
    }
    requests.insert_routing(session, table.family, values)
    row = requests.load_routing_for_update(session, table.family)
    if row is None or row.generation >= table.generation:
        return
    if row.champion_version != table.champion.version:
        row.champion_version = table.champion.version
        row.champion_since = event.at
    row.generation = table.generation
    row.table = values["table"]
