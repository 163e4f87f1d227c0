"""The evaluator's background work, each in a thread of its own."""

import threading

import structlog

from services.evaluator.handlers.closing import Closing
from services.evaluator.handlers.forgetting import forget_erased
from services.evaluator.handlers.generating import Generating
from services.evaluator.metrics import COMPARISONS_WAITING
from services.evaluator.repository import count_waiting_comparisons
from shared.db import SessionFactory
from shared.process import Worker, every

logger = structlog.get_logger(__name__)

IDLE_SECONDS = 1.0
RETRY_SECONDS = 5.0
FORGETTING_SECONDS = 30.0


def run_generating(generating: Generating, stop: threading.Event) -> None:
    """Generate for one evaluation after the other until told to stop."""
    while not stop.is_set():
        try:
            delay = 0.0 if generating.run_next(stop) else IDLE_SECONDS
        except Exception:
            logger.warning("generating_interrupted", retry_in_seconds=RETRY_SECONDS, exc_info=True)
            delay = RETRY_SECONDS
        stop.wait(delay)


def run_closing(closing: Closing) -> None:
    """Complete every evaluation that is due."""
    while closing.run_next():
        pass


def measure_waiting(sessions: SessionFactory) -> None:
    with sessions() as session:
        COMPARISONS_WAITING.set(count_waiting_comparisons(session))


def list_workers(generating: Generating, closing: Closing, sessions: SessionFactory) -> list[Worker]:
    return [
        Worker("generating", lambda stop: run_generating(generating, stop)),
        every(IDLE_SECONDS, "closing", lambda: run_closing(closing)),
        every(5.0, "announcing_again", closing.announce_again),
        every(FORGETTING_SECONDS, "forgetting", lambda: forget_erased(sessions)),
        every(5.0, "measuring", lambda: measure_waiting(sessions)),
    ]
