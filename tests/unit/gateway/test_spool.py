"""The spool and its relay on a real file, with the bus in memory."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from services.gateway.adapters.spool import Spool, SpoolFull
from services.gateway.adapters.spool_relay import SpoolRelay
from shared.bus import Record, Settle
from shared.bus.memory import MemoryBroker, MemoryProducer
from shared.errors import RecordRefused, TopicRefused, Unavailable


def record(number: int, size: int = 10) -> Record:
    return Record("interaction.recorded", f"key {number}".encode(), b"x" * size, {"ce_id": str(number)})


def open_spool(folder: Path, max_rows: int = 100, max_bytes: int = 10_000) -> Spool:
    spool = Spool(folder / "gateway" / "spool.sqlite", max_rows=max_rows, max_bytes=max_bytes)
    spool.start()
    return spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = open_spool(tmp_path)
    yield spool
    spool.close()


class FailingProducer:
    """Stores all but some keys."""

    def __init__(self, broker: MemoryBroker, failing: set[bytes], failure: Exception | None = None) -> None:
        self.inner, self.failing = MemoryProducer(broker), failing
        self.failure = failure or Unavailable("no leader")

    def send(self, record: Record) -> "Future[None]":
        if record.key not in self.failing:
            return self.inner.send(record)
        failed: Future[None] = Future()
        failed.set_exception(self.failure)
        return failed

    def deliver(self, records: Sequence[Record], settle: Settle) -> None:
        raise NotImplementedError  # the spool's relay sends

    def close(self, timeout_seconds: float) -> None:
        """Nothing to close."""


def holds(folder: Path, words: bytes) -> bool:
    return any(words in file.read_bytes() for file in (folder / "gateway").iterdir())


def test_what_was_published_is_in_no_file_after_a_moment_of_quiet(spool: Spool, tmp_path: Path):
    words = b"My lamp from Zanzibar is late."
    records = [Record("interaction.recorded", b"key", words * size, {}) for size in (1, 300)]
    spool.put(records).result(5)
    assert holds(tmp_path, words)
    spool.remove(spool.read(10)).result(5)
    deadline = time.monotonic() + 10
    while holds(tmp_path, words):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    spool.put([record(1)]).result(5)
    assert [row for _, row in spool.read(10)] == [record(1)]


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path):
    spool = open_spool(tmp_path)
    for number in range(3):
        spool.put([record(number)]).result(5)
    spool.close()
    again = open_spool(tmp_path)
    assert [row for _, row in again.read(10)] == [record(0), record(1), record(2)]
    assert again.count() == 3
    again.close()


def test_raw_text_is_for_its_owner_only(spool: Spool, tmp_path: Path):
    assert (tmp_path / "gateway" / "spool.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_full_spool_takes_nothing_more_until_something_has_left(tmp_path: Path):
    spool = open_spool(tmp_path, max_rows=2)
    spool.put([record(0), record(1)]).result(5)
    with pytest.raises(SpoolFull):
        spool.put([record(2)])
    spool.remove(spool.read(1)).result(5)
    spool.put([record(2)]).result(5)
    spool.close()
    small = open_spool(tmp_path, max_bytes=30)
    with pytest.raises(SpoolFull):
        small.put([record(3, size=11)])
    small.close()


def test_many_writers_share_their_fsyncs(spool: Spool):
    done: list[Future[None]] = []
    threads = [threading.Thread(target=lambda: done.extend(spool.put([record(1)]) for _ in range(5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for future in done:
        future.result(5)
    assert spool.count() == len(spool.read(100)) == 40


def test_a_failure_is_told_and_takes_no_room(tmp_path: Path):
    spool = open_spool(tmp_path)
    path = tmp_path / "gateway" / "spool.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE records")
    connection.close()
    with pytest.raises(sqlite3.OperationalError):
        spool.put([record(0)]).result(5)
    assert spool.count() == 0
    spool.check()
    spool.close()


def test_a_spool_that_cannot_write_is_not_ready_until_it_can_again(tmp_path: Path):
    spool = open_spool(tmp_path)
    path = tmp_path / "gateway" / "spool.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE records")
    connection.close()
    with pytest.raises(sqlite3.OperationalError):
        spool.put([record(0)]).result(5)
    for file in path.parent.glob("spool.sqlite*"):
        file.unlink(missing_ok=True)  # SQLite may have tidied up meanwhile
    path.mkdir()
    with pytest.raises(sqlite3.OperationalError):
        spool.check()
    path.rmdir()
    spool.check()
    spool.close()


def test_the_relay_empties_the_spool_onto_the_bus(spool: Spool):
    broker = MemoryBroker(partitions=1)
    relay = SpoolRelay(spool, lambda: MemoryProducer(broker))
    spool.put([record(number) for number in range(5)]).result(5)
    assert relay.relay_batch() == 5
    assert [stored.headers["ce_id"] for stored in broker.records("interaction.recorded")] == ["0", "1", "2", "3", "4"]
    assert spool.count() == 0
    assert relay.relay_batch() == 0


def test_what_the_bus_refuses_stays_and_its_neighbours_go(spool: Spool):
    broker = MemoryBroker()
    relay = SpoolRelay(spool, lambda: FailingProducer(broker, {b"key 1"}))
    spool.put([record(number) for number in range(3)]).result(5)
    assert relay.relay_batch() == 2
    assert [row.key for _, row in spool.read(10)] == [b"key 1"]
    with pytest.raises(Unavailable):
        relay.relay_batch()


def test_what_the_bus_will_never_take_is_put_aside_at_once_and_takes_up_room(tmp_path: Path):
    spool = open_spool(tmp_path, max_rows=3)
    broker = MemoryBroker()
    refusal = RecordRefused("interaction.recorded: too large", too_large=True)
    relay = SpoolRelay(spool, lambda: FailingProducer(broker, {b"key 1"}, refusal))
    spool.put([record(number) for number in range(3)]).result(5)
    assert relay.relay_batch() == 3
    assert spool.read(10) == []
    assert spool.count() == 0
    with sqlite3.connect(tmp_path / "gateway" / "spool.sqlite") as connection:
        aside = connection.execute("SELECT key, value, reason FROM refused").fetchall()
    connection.close()
    assert aside == [(b"key 1", b"x" * 10, str(refusal))]
    with pytest.raises(SpoolFull):
        spool.put([record(number) for number in range(3)])
    spool.close()
    again = open_spool(tmp_path, max_rows=3)
    with pytest.raises(SpoolFull):
        again.put([record(number) for number in range(3)])
    again.close()


def test_a_topic_that_takes_nothing_stops_its_own_rows_alone(spool: Spool):
    broker = MemoryBroker()
    relay = SpoolRelay(spool, lambda: FailingProducer(broker, {b"key 1", b"key 2"}, TopicRefused("not authorised")))
    others = Record("another.happened", b"other", b"1", {})
    spool.put([record(1), record(2), others]).result(5)
    assert relay.relay_batch() == 1
    assert [row.key for _, row in spool.read(10)] == [b"key 1", b"key 2"]
    assert relay.relay_batch() == 0  # it is not asked again at once


def test_the_relay_waits_for_a_broker_that_comes_later_and_drains_when_it_stops(spool: Spool):
    broker, tries = MemoryBroker(), []

    def open_producer() -> MemoryProducer:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("no broker")
        return MemoryProducer(broker)

    stop = threading.Event()
    thread = threading.Thread(target=SpoolRelay(spool, open_producer).run, args=(stop,))
    spool.put([record(0)]).result(5)
    thread.start()
    for _ in range(200):
        if spool.count() == 0:
            break
        stop.wait(0.02)
    spool.put([record(number) for number in range(300)][:90]).result(5)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(broker.records("interaction.recorded")) == 91


def test_a_relay_that_ends_keeps_trying_a_broker_that_is_away_and_says_what_it_keeps(spool: Spool):
    broker, tries = MemoryBroker(), []

    def open_producer() -> MemoryProducer:
        tries.append(1)
        if len(tries) < 4:
            raise ConnectionError("no broker")
        return MemoryProducer(broker)

    spool.put([record(number) for number in range(3)]).result(5)
    stop = threading.Event()
    stop.set()
    SpoolRelay(spool, open_producer, handover_seconds=10).run(stop)
    assert (len(tries), spool.count(), len(broker.records("interaction.recorded"))) == (4, 0, 3)

    spool.put([record(3)]).result(5)
    with structlog.testing.capture_logs() as logs:
        SpoolRelay(spool, lambda: FailingProducer(broker, {b"key 3"}), handover_seconds=0.5).run(stop)
    assert {"event": "spool_kept", "log_level": "error", "records": 1, "handover_seconds": 0.5} in logs


def test_what_was_refused_is_deleted_after_its_time_and_makes_room(tmp_path: Path):
    spool = open_spool(tmp_path, max_rows=2)
    refusal = RecordRefused("interaction.recorded: too large", too_large=True)
    relay = SpoolRelay(spool, lambda: FailingProducer(MemoryBroker(), {b"key 1"}, refusal))
    spool.put([record(1)]).result(5)
    relay.relay_batch()
    relay.forget_refused(timedelta(days=7))
    with pytest.raises(SpoolFull):
        spool.put([record(2), record(3)])
    relay.forget_refused(timedelta())
    spool.put([record(2), record(3)]).result(5)
    spool.close()
    with sqlite3.connect(tmp_path / "gateway" / "spool.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM refused").fetchone() == (0,)
    connection.close()
