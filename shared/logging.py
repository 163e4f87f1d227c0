"""Structured logs: one JSON object a line, with the ids of the event, request, run and rollout in hand."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from shared.events import AnyEvent

ID_FIELDS = ("event_id", "interaction_id", "request_id", "run_id", "evaluation_id", "rollout_id")


def configure_logging(service: str, level: str = "INFO") -> None:
    """Send our logs and the libraries' to standard output as JSON lines."""
    shared_processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_processors,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("kafka", "httpx", "httpcore", "uvicorn.access", "alembic", "filelock", "urllib3"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(service=service)


@contextmanager
def event_context(event: AnyEvent) -> Iterator[None]:
    """Bind the event's ids to every line logged meanwhile."""
    ids = {name: str(value) for name in ID_FIELDS if (value := getattr(event, name, None)) is not None}
    with structlog.contextvars.bound_contextvars(**ids):
        yield
