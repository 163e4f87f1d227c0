"""What was answered 202 is on the topic: every id, whatever is killed, stopped or taken away meanwhile."""

import time
from uuid import UUID

import pytest

from tests.faults.ingest.conftest import Edge
from tests.faults.ingest.edge import Senders, Worker, read_topic, until


def find_lost(senders: Senders, address: str) -> set[UUID]:
    """Ids that were answered 202 and are not on the topic."""
    return senders.acknowledged - set(read_topic(address))


def kill_and_restart(worker: Worker) -> None:
    worker.kill()
    worker.start()
    until(worker.is_ready)


def kill_while_it_holds(edge: Edge, worker: Worker, seconds: float) -> None:
    """Kill it while the broker takes nothing from it: what it had answered 202 by then would be gone."""
    edge.broker.stop()
    time.sleep(seconds)
    worker.kill()
    edge.broker.go_on()
    worker.start()
    until(worker.is_ready)


def test_nothing_acknowledged_is_lost_to_killed_workers_a_stopped_broker_and_a_redis_that_is_gone(edge: Edge):
    workers = edge.start_workers(2)
    senders = edge.send(workers, threads=4)
    senders.go_on_until(200)
    kill_and_restart(workers[0])
    senders.go_on_until(50)
    kill_while_it_holds(edge, workers[1], 1.0)
    senders.go_on_until(100)
    edge.redis.kill()
    senders.go_on_until(100)
    until(lambda: workers[1].metric("heliotrope_ingest_rate_syncs_failed_total") > 0)
    for worker in workers:
        worker.terminate()  # under load: what is in flight is finished first
    senders.stop()
    assert all("Application shutdown complete" in worker.log.read_text() for worker in workers)
    assert len(senders.acknowledged) >= 400
    assert find_lost(senders, edge.broker.address) == set()


def test_a_full_worker_refuses_instead_of_growing_and_loses_nothing(edge: Edge):
    workers = edge.start_workers(1, max_in_flight_events="30")
    senders = edge.send(workers, threads=4)
    senders.go_on_until(50)
    edge.broker.stop()
    until(lambda: senders.answers[429] >= 20)
    assert workers[0].metric("heliotrope_ingest_in_flight_events") <= 30
    edge.broker.go_on()
    senders.go_on_until(50)
    senders.stop()
    assert find_lost(senders, edge.broker.address) == set()


@pytest.mark.faults
def test_nothing_acknowledged_is_lost_in_minutes_of_kills_and_stops(edge: Edge):
    workers = edge.start_workers(2)
    senders = edge.send(workers, threads=8)
    for turn in range(12):
        senders.go_on_until(300)
        kill_and_restart(workers[turn % 2])
        senders.go_on_until(50)
        kill_while_it_holds(edge, workers[1 - turn % 2], 6.0 if turn % 4 == 3 else 0.5)  # past the deadline of 4 s, too
    senders.go_on_until(300)
    senders.stop()
    assert senders.answers[503] > 0
    assert find_lost(senders, edge.broker.address) == set()


@pytest.mark.faults
def test_a_broker_that_restarts_is_found_again_and_nothing_is_acknowledged_while_it_is_away(edge: Edge):
    """The local broker forgets its records when it dies, so each of its lives is reconciled for itself."""
    workers = edge.start_workers(2)
    for _ in range(3):
        senders = edge.send(workers, threads=4)
        senders.go_on_until(500)
        senders.stop()
        assert find_lost(senders, edge.broker.address) == set()
        edge.broker.kill()
        away = edge.send(workers, threads=2)
        time.sleep(6)
        away.stop()
        assert away.acknowledged == set()
        assert away.answers[503] > 0
        edge.broker.start()
    senders = edge.send(workers, threads=4)
    senders.go_on_until(500)
    senders.stop()
    assert find_lost(senders, edge.broker.address) == set()
