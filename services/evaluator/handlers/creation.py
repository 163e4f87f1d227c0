"""A candidate exists: open its evaluation."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from services.evaluator.repository.evaluations import is_entrant, load_champion_version, save_evaluation
from services.evaluator.settings import EvaluatorSettings
from shared.events import TrainingCompleted

logger = structlog.get_logger(__name__)


def create_evaluation(
    session: Session, event: TrainingCompleted, *, family: str, settings: EvaluatorSettings, now: datetime
) -> bool:
    """Create one evaluation per request, if its run left a candidate: against today's champion, else its parent.

    A request of several recipes waits for the last of its runs; the trainer then announces the others' once more.
    """
    if event.outcome != "succeeded" or event.candidate_version is None:
        return False
    if not is_entrant(session, event.request_id, event.run_id):
        return False
    champion_version = load_champion_version(session, family) or event.parent_version
    deadline_at = now + timedelta(seconds=settings.generation_deadline_seconds)
    opened = save_evaluation(session, event, champion_version, now, deadline_at)
    if opened:
        logger.info("evaluation_opened", candidate=event.candidate_version, champion=champion_version)
    return opened
