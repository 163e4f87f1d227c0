"""The thread that computes: all batches in turn, and between two steps what others ask of it."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import torch

from local.model_server.batch import Batch, Sequence
from local.model_server.errors import Refused

logger = logging.getLogger(__name__)

MOST_WAITING = 64
"""Requests; one more is refused."""


class Worker:
    """Computes until a step fails: then it tells everybody, and is dead. A new process must take over."""

    def __init__(self, stuck_seconds: float = 120.0) -> None:
        """Prepare: a step that takes `stuck_seconds` will never end."""
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._batches: tuple[Batch, ...] = ()
        self._stuck_seconds = stuck_seconds
        self._stepping_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until it is dead, or for so long."""
        self._thread.join(seconds)

    @property
    def problem(self) -> str | None:
        """Why it computes no more; None while it does."""
        if not self._thread.is_alive():
            return "the worker is dead"
        since = self._stepping_since
        return "a step does not end" if since and time.monotonic() - since > self._stuck_seconds else None

    def submit(self, batch: Batch, sequence: Sequence) -> None:
        """Have a request answered. Raises: Refused: 503, when too many wait or the worker is dead."""
        if self.problem:
            raise Refused(503, self.problem, "worker_dead")
        if self._tasks.qsize() + batch.waiting >= MOST_WAITING:
            raise Refused(503, f"{MOST_WAITING} requests wait already", "overloaded")
        self._tasks.put(lambda: batch.add(sequence))

    def call(self, task: Callable[[], None]) -> None:
        """Do something between two steps, and return when it is done. Raises: what it raises; Refused, by the dead."""
        if self.problem:
            raise Refused(503, self.problem, "worker_dead")
        done: Future[None] = Future()

        def perform() -> None:
            try:
                task()
                done.set_result(None)
            except Exception as error:
                done.set_exception(error)

        self._tasks.put(perform)
        done.result(self._stuck_seconds)

    def join(self, batch: Batch) -> None:
        self._batches = (*self._batches, batch)

    def leave(self, batch: Batch) -> None:
        self._batches = tuple(each for each in self._batches if each is not batch)

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while True:
                    self._take_tasks()
                    self._stepping_since = time.monotonic()
                    for batch in self._batches:
                        if batch.is_busy:
                            batch.step()
                    self._stepping_since = None
        except Exception:
            logger.exception("a step failed")
            with torch.inference_mode():
                for batch in self._batches:
                    batch.fail("the model server failed and starts anew")

    def _take_tasks(self) -> None:
        """Do what was asked for; wait for something when there is nothing to compute."""
        if not any(batch.is_busy for batch in self._batches):
            self._tasks.get()()
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return
            task()
