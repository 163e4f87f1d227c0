"""The evaluator's background work, each in a thread of its own."""

import threading

import structlog

from services.evaluator.domain.error_budget import QUARTER
from services.evaluator.handlers.auditing import AuditHandler
from services.evaluator.handlers.completion import CompletionHandler
from services.evaluator.handlers.erasure import erase_comparisons
from services.evaluator.handlers.generation import GenerationHandler
from services.evaluator.metrics import COMPARISONS_WAITING, FALSE_PROMOTIONS
from services.evaluator.repository.comparisons import count_waiting_comparisons
from services.evaluator.repository.evaluations import load_tested
from shared.db import SessionFactory
from shared.process import Worker, every

logger = structlog.get_logger(__name__)

IDLE_SECONDS = 1.0
RETRY_SECONDS = 5.0
ERASURE_SECONDS = 5.0
AUDIT_SECONDS = 60.0
"""Between two looks at whether an audit is due."""


def run_generation(generation: GenerationHandler, stop: threading.Event) -> None:
    """Generate for one evaluation after the other until told to stop."""
    while not stop.is_set():
        try:
            delay = 0.0 if generation.run_next(stop) else IDLE_SECONDS
        except Exception:
            logger.warning("generation_interrupted", retry_in_seconds=RETRY_SECONDS, exc_info=True)
            delay = RETRY_SECONDS
        stop.wait(delay)


def run_completion(completion: CompletionHandler) -> None:
    """End every vote that has decided, and complete every evaluation that is due."""
    completion.close_decided()
    while completion.run_next():
        pass


def measure(sessions: SessionFactory, completion: CompletionHandler, auditing: AuditHandler) -> None:
    """Show what waits for votes, what the quarter's budget has left, and the last audit."""
    settings, now = completion.settings, completion.clock()
    with sessions() as session:
        COMPARISONS_WAITING.set(count_waiting_comparisons(session))
        spent = sum(each.level for each in load_tested(session, now - QUARTER))
    FALSE_PROMOTIONS.labels("spent").set(spent)
    FALSE_PROMOTIONS.labels("allowed").set(settings.false_promotions_per_quarter)
    auditing.measure()


def list_workers(
    generation: GenerationHandler, completion: CompletionHandler, auditing: AuditHandler, sessions: SessionFactory
) -> list[Worker]:
    registry, artifacts = completion.registry, completion.artifacts
    return [
        Worker("generation", lambda stop: run_generation(generation, stop)),
        every(IDLE_SECONDS, "completion", lambda: run_completion(completion)),
        every(5.0, "announcing_again", completion.announce_again),
        every(ERASURE_SECONDS, "erasure", lambda: erase_comparisons(sessions, registry, artifacts)),
        every(AUDIT_SECONDS, "auditing", auditing.open_due),
        every(5.0, "measuring", lambda: measure(sessions, completion, auditing)),
    ]
