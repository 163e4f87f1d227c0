"""A process: an HTTP server in front of background workers, stopped in order."""

import gc
import math
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from shared.draining import Drain, DrainingApp, DrainingServer
from shared.http_protocol import DeadlineHttpProtocol, keep_own_files
from shared.settings import Settings

logger = structlog.get_logger(__name__)

STOP_DEADLINE_SECONDS = 20.0
STARTUP_FAILURE = 3
"""Exit status of a server that could not start, as of uvicorn's own command."""


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
    workers: Sequence[Worker],
    close: Callable[[], None] = lambda: None,
    deadline_seconds: float = STOP_DEADLINE_SECONDS,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return a lifespan: it starts the workers, and on the way down stops them together, then calls `close`.

    All of them have `deadline_seconds` to return.

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
            deadline = time.monotonic() + deadline_seconds
            for thread in threads:
                thread.join(max(deadline - time.monotonic(), 0))
            close()

    return lifespan


def serve(app: ASGIApp, settings: Settings, port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    After SIGTERM it goes on for `settings.drain_seconds`, not ready any more; then nobody new is accepted, and requests
    in flight have `settings.stop_seconds` to end.
    """
    keep_own_files()
    drain = Drain()
    config = uvicorn.Config(
        DrainingApp(app, drain),
        http=DeadlineHttpProtocol,
        host=settings.bind_host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_keep_alive=settings.idle_seconds,
        timeout_graceful_shutdown=math.ceil(settings.stop_seconds),
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
    )
    server = DrainingServer(config, drain, settings.drain_seconds)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def spare_collections() -> None:
    """Exempt what exists by now from collection: it lives for ever, and walking it again and again took a tenth of each
    request's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
