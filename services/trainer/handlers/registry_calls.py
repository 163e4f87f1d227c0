"""Calls to the model registry that outlive its outages."""

from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from services.trainer.domain.planning.scheduling import list_pauses
from services.trainer.domain.training import Interrupted
from services.trainer.handlers.claim import Claim
from services.trainer.handlers.context import WorkerContext
from shared.errors import HeliotropeError

logger = structlog.get_logger(__name__)

T = TypeVar("T")


class RegistryUnavailable(HeliotropeError):
    """The registry or its artifact store does not answer. The run goes back to the queue with what it has trained."""

    title = "Registry unavailable"


def call_registry(action: Callable[[], T], claim: Claim, context: WorkerContext) -> T:
    """Call until it succeeds, with growing pauses, for as long as the context's patience lasts.

    `action` must be safe to repeat. The claim is kept by its heartbeat meanwhile.

    Raises:
        RegistryUnavailable: the patience is used up.
        HeliotropeError, DBAPIError: from the action, at once: the registry has answered, or Postgres is meant.
        Interrupted: the worker was told to stop.
        StaleClaim: another worker has the run.
    """
    pauses = iter(list_pauses(context.registry_patience.total_seconds()))
    while True:
        try:
            return action()
        except (HeliotropeError, DBAPIError):
            raise
        except Exception as error:
            pause = next(pauses, None)
            logger.warning("registry_unavailable", error=repr(error), pause_seconds=pause)
            if pause is None:
                raise RegistryUnavailable(f"the registry does not answer: {type(error).__name__}: {error}") from error
        if context.stop.wait(pause):
            raise Interrupted("while the registry is unavailable")
        claim.check()
