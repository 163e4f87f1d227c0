"""The evaluator's background work, each in a thread of its own."""

import threading

import structlog

from services.evaluator.handlers.completion import CompletionHandler
from services.evaluator.handlers.erasure import erase_comparisons
from services.evaluator.handlers.generation import GenerationHandler
from services.evaluator.metrics import COMPARISONS_WAITING
from services.evaluator.repository.comparisons import count_waiting_comparisons
from shared.db import SessionFactory
from shared.process import Worker, every

logger = structlog.get_logger(__name__)

IDLE_SECONDS = 1.0
RETRY_SECONDS = 5.0
ERASURE_SECONDS = 5.0


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


def measure_waiting(sessions: SessionFactory) -> None:
    with sessions() as session:
        COMPARISONS_WAITING.set(count_waiting_comparisons(session))


def list_workers(
    generation: GenerationHandler, completion: CompletionHandler, sessions: SessionFactory
) -> list[Worker]:
    registry, artifacts = completion.registry, completion.artifacts
    return [
        Worker("generation", lambda stop: run_generation(generation, stop)),
        every(IDLE_SECONDS, "completion", lambda: run_completion(completion)),
        every(5.0, "announcing_again", completion.announce_again),
        every(ERASURE_SECONDS, "erasure", lambda: erase_comparisons(sessions, registry, artifacts)),
        every(5.0, "measuring", lambda: measure_waiting(sessions)),
    ]
