"""The client for threads."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from heliotrope_client.errors import HeliotropeError, QueueFull, Rejected
from heliotrope_client.items import Item
from heliotrope_client.queues import open_queue
from heliotrope_client.sending import Heard, Pause, Post, Steps, advance, deliver, drain

MAX_QUEUED = 10_000
MAX_QUEUED_BYTES = 64 * 2**20

logger = logging.getLogger("heliotrope_client")


def make_headers(key: str | None, feedback_token: str | None) -> dict[str, str]:
    """Raises: ValueError: there are both, or none."""
    if (key is None) == (feedback_token is None):
        raise ValueError("give either a key or a feedback token")
    return (
        {"authorization": f"Bearer {key}"} if key is not None else {"x-heliotrope-feedback-token": str(feedback_token)}
    )


def log_rejected(error: Rejected) -> None:
    """Tell of what nobody waits for."""
    logger.warning("%s event(s) rejected: %s", len(error.events), error)


class Heliotrope:
    """Sends feedback and interactions to ingest at `base_url`; may be shared by threads."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        feedback_token: str | None = None,
        retries: int = 5,
        timeout_seconds: float = 15.0,
        queue_path: Path | str | None = None,
        max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        flush_every_seconds: float | None = None,
        on_rejected: Callable[[Rejected], None] = log_rejected,
    ) -> None:
        """Open the client.

        `queue_path` names a file for the queue, which then outlives the process. With `flush_every_seconds` a thread
        sends what is queued; what ingest will never take it hands to `on_rejected`, which is called in that thread.
        """
        headers = make_headers(key, feedback_token)
        self._queue = open_queue(queue_path, max_queued, max_queued_bytes)
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout_seconds)
        self._retries, self._on_rejected = retries, on_rejected
        self._flushing = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if flush_every_seconds is not None:
            self._thread = threading.Thread(target=self._run, args=(flush_every_seconds,), daemon=True)
            self._thread.start()

    @property
    def waiting(self) -> int:
        """How many are queued."""
        return self._queue.count()

    def send(self, *items: Item) -> None:
        """Send events or interactions, and return when all are stored.

        Raises:
            Rejected: some are wrong; the others are stored.
            NotStored: it is not known whether some are stored.
        """
        self._drive(deliver(items, self._retries))

    def queue(self, item: Item) -> None:
        """Keep it for the next flush. A full queue is flushed first, unless a thread does that.

        Raises:
            QueueFull: it was not kept.
            HeliotropeError: what the flush raised; it was not kept.
        """
        try:
            self._queue.add(item)
        except QueueFull:
            if self._thread is not None:
                raise
            self.flush()
            self._queue.add(item)

    def flush(self) -> None:
        """Send what is queued. What is not stored after all retries stays queued. Raises as `send` does."""
        with self._flushing:
            self._drive(drain(self._queue, self._retries))

    def close(self) -> None:
        """Flush, and close the connections. What a file's queue holds then is sent by whoever opens it next."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.flush()
        finally:
            self._http.close()
            self._queue.close()

    def _run(self, seconds: float) -> None:
        while not self._closing.wait(seconds):
            try:
                self.flush()
            except Rejected as error:
                self._on_rejected(error)
            except HeliotropeError as error:
                logger.info("still queued: %s", error)

    def _drive(self, steps: Steps) -> None:
        heard: Heard = None
        while (step := advance(steps, heard)) is not None:
            heard = self._do(step)

    def _do(self, step: Post | Pause) -> Heard:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.post(step.path, json=step.body)
        except httpx.TransportError as error:
            return error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
