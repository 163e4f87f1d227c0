"""Calls that outlive an artifact store's outages."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from services.trainer.domain.planning.scheduling import list_pauses
from shared.artifacts import ArtifactStoreUnavailable

logger = structlog.get_logger(__name__)

T = TypeVar("T")


def call_patiently(action: Callable[[], T], patience_seconds: float) -> T:
    """Call until the store answers, with growing pauses. `action` must be safe to repeat.

    Raises:
        ArtifactStoreUnavailable: the patience is used up; with none it is tried once.
    """
    pauses = iter(list_pauses(patience_seconds) if patience_seconds > 0 else ())
    while True:
        try:
            return action()
        except ArtifactStoreUnavailable as error:
            pause = next(pauses, None)
            logger.warning("store_unavailable", error=error.detail, pause_seconds=pause)
            if pause is None:
                raise
        time.sleep(pause)
