"""A process: an HTTP server in front of background workers, stopped in order."""

import gc
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from shared.http_protocol import DeadlineHttpProtocol, keep_own_files

logger = structlog.get_logger(__name__)

STOP_DEADLINE_SECONDS = 20.0


@dataclass(frozen=True)
class Worker:
    """A loop in a thread of its own; `run` returns when the event is set."""

    name: str
    run: Callable[[threading.Event], None]


def every(seconds: float, name: str, action: Callable[[], object]) -> Worker:
    """Return a worker that acts every `seconds`; a failure is logged and the next turn comes all the same."""

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                action()
            except Exception:
                logger.warning("periodic_action_failed", action=name, exc_info=True)
            stop.wait(seconds)

    return Worker(name, run)


def run_workers(
    workers: Sequence[Worker], close: Callable[[], None] = lambda: None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return a lifespan: it starts the workers, and on the way down stops and joins them, then calls `close`.

    A worker that dies of an exception ends the process, for its supervisor to start it anew.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()

        def guard(worker: Worker) -> None:
            try:
                worker.run(stop)
            except Exception:
                logger.error("worker_died", worker=worker.name, exc_info=True)
                os.kill(os.getpid(), signal.SIGTERM)

        threads = [threading.Thread(target=guard, args=(worker,), name=worker.name, daemon=True) for worker in workers]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(STOP_DEADLINE_SECONDS)
            close()

    return lifespan


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are finished first."""
    keep_own_files()
    uvicorn.run(
        app,
        http=DeadlineHttpProtocol,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(STOP_DEADLINE_SECONDS),
        server_header=False,
    )


def spare_collections() -> None:
    """Exempt what exists by now from collection: it lives for ever, and walking it again and again took a tenth of each
    request's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
