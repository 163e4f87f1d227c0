"""The routing table in force: followed on the bus, polled from the deployer, kept on disk."""

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import msgspec
import structlog

from services.gateway.domain.assignment import are_allowed, is_newer, keep_champion
from services.gateway.metrics import ROUTING_GENERATION, ROUTING_REFUSED, ROUTING_STALE
from shared.bus import Consumer, decode
from shared.consumer import CannotRead, tell_errors
from shared.errors import UndecodableEvent
from shared.events import RolloutAdvanced, RoutingTable
from shared.routing import check_table
from shared.signing import SignatureInvalid, Verifier

logger = structlog.get_logger(__name__)

MAX_BACKOFF_SECONDS = 10.0
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
ANYBODY = Verifier([])
NO_TABLE_YET = (404, 409)


class RoutingStore:
    """Keeps the newest table that it was offered, in memory and on disk.

    A table that no trusted key signed, or whose model servers are not on the list, is refused. Once nobody has
    confirmed the table for `max_age_seconds`, only its champion is served: a rollback may have been missed.
    """

    def __init__(
        self,
        path: Path,
        family: str,
        *,
        allowed_base_urls: Sequence[str] = (),
        verifier: Verifier = ANYBODY,
        max_age_seconds: float = math.inf,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._family = family
        self._allowed_base_urls, self._verifier = allowed_base_urls, verifier
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._confirmed_at = -math.inf
        self._writing = threading.Lock()
        self.table: RoutingTable | None = None

    @property
    def in_force(self) -> RoutingTable | None:
        """The table that requests follow."""
        is_old = self._clock() - self._confirmed_at > self._max_age_seconds
        ROUTING_STALE.set(is_old)
        return keep_champion(self.table) if self.table is not None and is_old else self.table

    def load(self) -> None:
        """Load the table that an earlier process saved, if it can be read."""
        try:
            table = msgspec.json.decode(self._path.read_bytes(), type=RoutingTable)
            saved_at = self._path.stat().st_mtime
        except FileNotFoundError:
            return
        except (OSError, *UNREADABLE) as error:
            logger.warning("routing_file_unreadable", error=repr(error))
            return
        if table.family == self._family and self._check(table):
            self._take(table, saved_at)

    def check(self) -> None:
        """Raise while no table has ever been heard of: nobody could be answered."""
        if self.table is None:
            raise LookupError("no routing table has been heard of yet")

    def offer(self, table: RoutingTable, said_at: float = math.inf) -> bool:
        """Return whether the table is newer than the one in force, which it then replaces.

        `said_at` is when the deployer said it, in seconds since 1970, if not now: a topic that is read from its
        beginning confirms nothing.
        """
        with self._writing:
            if table.family != self._family or not self._check(table):
                return False
            said_at = min(said_at, self._clock())
            if table == self.table:
                self._confirmed_at = max(self._confirmed_at, said_at)
            if not is_newer(table, self.table):
                return False
            self._take(table, said_at)
            try:
                self._save(table)
            except OSError as error:
                logger.warning("routing_not_saved", error=repr(error))
        logger.info(
            "routing_changed",
            epoch=table.epoch,
            generation=table.generation,
            champion=table.champion.version,
            canary=table.canary.version if table.canary else None,
            canary_percent=table.canary_percent,
        )
        return True

    def _check(self, table: RoutingTable) -> bool:
        """Whether the deployer signed it and its model servers are on the list."""
        reason = None if are_allowed(table, self._allowed_base_urls) else "a model server that is not on the list"
        try:
            check_table(table, self._verifier)
        except SignatureInvalid as error:
            reason = error.detail
        if reason is not None:
            ROUTING_REFUSED.inc()
            logger.error("routing_refused", epoch=table.epoch, generation=table.generation, reason=reason)
        return reason is None

    def _take(self, table: RoutingTable, said_at: float) -> None:
        self.table = table
        self._confirmed_at = said_at
        ROUTING_GENERATION.set(table.generation)

    def _save(self, table: RoutingTable) -> None:
        """Replace the file atomically: a reader finds the old table or the new one."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(table))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)


class RoutingFollower:
    """Reads all of `rollout.advanced`, as a member of no group, and waits for more."""

    def __init__(self, store: RoutingStore, open_consumer: Callable[[], Consumer]) -> None:
        self._store = store
        self._open_consumer = open_consumer
        self._errors: dict[str, bool] = {}

    def check(self) -> None:
        """Raises: CannotRead: something of this reader's own, such as a missing right, keeps it from the tables."""
        if wrong := [words for words, is_own in self._errors.items() if is_own]:
            raise CannotRead("; ".join(wrong))

    def run(self, stop: threading.Event) -> None:
        """Follow until told to stop; starts again from the beginning when the bus fails."""
        delay = 0.5
        while not stop.is_set():
            try:
                consumer = self._open_consumer()
            except Exception as error:
                logger.warning("routing_bus_away", error=repr(error), retry_in_seconds=delay)
                stop.wait(delay)
                delay = min(delay * 2, MAX_BACKOFF_SECONDS)
                continue
            try:
                while not stop.is_set():
                    self.poll(consumer, 0.5)
                    delay = 0.5
            except Exception as error:
                logger.warning("routing_follower_failed", error=repr(error), retry_in_seconds=delay)
                stop.wait(delay)
            finally:
                consumer.close()

    def poll(self, consumer: Consumer, timeout_seconds: float) -> None:
        """Offer the tables of the next records; what cannot be read is another build's, and left out."""
        for record in consumer.poll(timeout_seconds):
            try:
                event = decode(record)
            except UndecodableEvent as error:
                logger.warning("rollout_undecodable", error=str(error))
                continue
            if isinstance(event, RolloutAdvanced):
                self._store.offer(event.routing, event.at.timestamp())
        self._errors = tell_errors("gateway", self._errors, consumer.read_errors())


class RoutingPoll:
    """Asks the deployer, for when the bus is away or has dropped the table."""

    def __init__(self, store: RoutingStore, client: httpx.Client, url: str, load_key: Callable[[], str]) -> None:
        self._store = store
        self._client = client
        self._url = url
        self._load_key = load_key

    def poll(self) -> None:
        """Ask once; no table yet, or no deployer, changes nothing."""
        key = self._load_key()
        if not key:
            return
        try:
            response = self._client.get(self._url, headers={"authorization": f"Bearer {key}"})
            if response.status_code == 200:
                self._store.offer(msgspec.json.decode(response.content, type=RoutingTable))
            elif response.status_code not in NO_TABLE_YET:
                logger.warning("routing_poll_refused", status=response.status_code)
        except (httpx.HTTPError, *UNREADABLE) as error:
            logger.info("routing_poll_failed", error=repr(error))
