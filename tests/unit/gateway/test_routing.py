"""Where the routing table comes from and which one is in force."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import msgspec
import pytest

from services.gateway.adapters.routing import RoutingFollower, RoutingPoll, RoutingStore
from shared.bus import Record, encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.events import RolloutAdvanced, RoutingTable
from shared.routing import sign_table
from shared.signing import Signer, Verifier, generate_key
from tests.builders import make_route, make_routing


def table(generation: int, family: str = "heliotrope") -> RoutingTable:
    return make_routing(make_route(str(generation)), generation=generation, family=family)


def rollout(generation: int, family: str = "heliotrope") -> Record:
    event = RolloutAdvanced(
        state="canary",
        summary="stage 1",
        routing=table(generation, family),
        at=datetime.now(UTC),
        rollout_id=uuid4(),
    )
    return encode(event, source="deployer")


@pytest.fixture
def store(tmp_path: Path) -> RoutingStore:
    return RoutingStore(tmp_path / "gateway" / "routing.json", "heliotrope")


def test_the_highest_generation_stands_whatever_the_order(store: RoutingStore):
    assert [store.offer(table(generation)) for generation in (2, 1, 2, 3)] == [True, False, False, True]
    assert store.table == table(3)


def test_another_family_is_not_ours(store: RoutingStore):
    assert not store.offer(table(9, "moonflower"))
    assert store.table is None


def test_a_cold_start_finds_the_last_table_on_disk(store: RoutingStore, tmp_path: Path):
    store.offer(table(4))
    again = RoutingStore(tmp_path / "gateway" / "routing.json", "heliotrope")
    again.load()
    assert again.table == table(4)


def test_a_file_that_is_missing_or_broken_is_no_obstacle(store: RoutingStore, tmp_path: Path):
    store.load()
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "routing.json").write_text('{"generation": 4')
    store.load()
    assert store.table is None


def test_the_topic_is_read_from_its_beginning_and_followed(store: RoutingStore):
    broker, tries = MemoryBroker(), []

    def open_consumer() -> MemoryConsumer:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("no broker yet")
        return MemoryConsumer(broker, [RolloutAdvanced.topic], None)

    producer = MemoryProducer(broker)
    for record in (rollout(1), Record(RolloutAdvanced.topic, b"heliotrope", b"not an event"), rollout(2)):
        producer.send(record)
    stop = threading.Event()
    thread = threading.Thread(target=RoutingFollower(store, open_consumer).run, args=(stop,))
    thread.start()
    wait_for_generation(store, 2)
    producer.send(rollout(3))
    wait_for_generation(store, 3)
    stop.set()
    thread.join(5)


def wait_for_generation(store: RoutingStore, generation: int) -> None:
    deadline = time.monotonic() + 10
    while store.table is None or store.table.generation != generation:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answer(status: int, content: bytes = b"") -> httpx.Client:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer hk_internal"
        return httpx.Response(status, content=content)

    return httpx.Client(transport=httpx.MockTransport(handle))


def poll(store: RoutingStore, client: httpx.Client, key: str = "hk_internal") -> None:
    with client:
        RoutingPoll(store, client, "http://deployer/v1/routing", lambda: key).poll()


def test_the_deployer_is_asked_too(store: RoutingStore):
    poll(store, answer(200, msgspec.json.encode(table(5))))
    assert store.table == table(5)


def test_a_deployer_that_is_away_or_strange_changes_nothing(store: RoutingStore):
    store.offer(table(5))

    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to host")

    for client in (
        answer(404),
        answer(409),
        answer(500),
        answer(200, b"<html>"),
        httpx.Client(transport=httpx.MockTransport(unreachable)),
    ):
        poll(store, client)
    poll(store, answer(200, msgspec.json.encode(table(6))), key="")
    assert store.table == table(5)


def test_a_restored_backup_raises_the_epoch_and_its_rollbacks_are_taken(store: RoutingStore):
    store.offer(table(900))
    restored = msgspec.structs.replace(table(850), epoch=1)
    assert not store.offer(table(850))
    assert store.offer(restored)
    assert store.offer(msgspec.structs.replace(table(851), epoch=1))
    assert not store.offer(table(901))


@pytest.mark.parametrize(
    "url, allowed",
    [
        ("http://gpu-1:8000/v1", True),
        ("http://gpu-1:8000/v1/", True),
        ("http://gpu-1:8000", False),
        ("http://gpu-1:8000/v1.evil.example", False),
        ("http://gpu-1:8000@evil.example/v1", False),
        ("http://gpu-1:8000/v1/../../metrics", False),
        ("http://gpu-1:8000/v1/%2e%2e/metrics", False),
        ("http://gpu-1:8000/v1/..%2fmetrics", False),
        ("http://gpu-1:8000/v1/?to=", False),
        ("http://gpu-1:8000/v1/#", False),
        ("http://gpu-1:8000/v1/\\..\\metrics", False),
        ("https://evil.example/v1", False),
    ],
)
def test_a_table_that_names_a_strangers_model_server_is_refused(tmp_path: Path, url: str, allowed: bool):
    store = RoutingStore(tmp_path / "routing.json", "heliotrope", allowed_base_urls=["http://gpu-1:8000/v1"])
    good = make_route("1", base_url="http://gpu-1:8000/v1")
    store.offer(make_routing(good, generation=1))
    forged = make_routing(good, generation=2**62, canary=make_route("2", base_url=url), canary_percent=100.0)
    assert store.offer(forged) is allowed
    if not allowed:
        assert store.offer(make_routing(good, generation=2))
        (tmp_path / "routing.json").write_bytes(msgspec.json.encode(forged))
        again = RoutingStore(tmp_path / "routing.json", "heliotrope", allowed_base_urls=["http://gpu-1:8000/v1"])
        again.load()
        assert again.table is None


def test_a_table_that_nobody_confirms_serves_its_champion_only(tmp_path: Path):
    now = [1_000.0]
    store = RoutingStore(tmp_path / "routing.json", "heliotrope", max_age_seconds=60, clock=lambda: now[0])
    canary = make_routing(
        make_route("1"), generation=1, canary=make_route("2"), canary_percent=100.0, rollout_id=uuid4()
    )
    store.offer(canary)
    now[0] += 59
    assert store.in_force == canary
    now[0] += 2
    in_force = store.in_force
    assert in_force is not None
    assert (in_force.champion, in_force.canary, in_force.rollout_id) == (canary.champion, None, None)
    poll(store, answer(200, msgspec.json.encode(canary)))
    assert store.in_force == canary
    (tmp_path / "routing.json").touch()
    again = RoutingStore(tmp_path / "routing.json", "heliotrope", max_age_seconds=60, clock=lambda: time.time() + 61)
    again.load()
    assert again.in_force == in_force


def test_a_topic_that_is_read_anew_confirms_no_table(tmp_path: Path):
    """Whoever keeps a gateway from the deployer cannot keep a canary alive by breaking its connection to the bus."""
    canary = make_routing(make_route("1"), generation=1, canary=make_route("2"), canary_percent=100.0)
    said_at = time.time() - 61
    event = RolloutAdvanced(state="canary", summary="", routing=canary, at=datetime.fromtimestamp(said_at, UTC))
    broker = MemoryBroker()
    MemoryProducer(broker).send(encode(event, source="deployer"))
    store = RoutingStore(tmp_path / "routing.json", "heliotrope", max_age_seconds=60)
    for _ in range(2):
        consumer = MemoryConsumer(broker, [RolloutAdvanced.topic], None)
        RoutingFollower(store, lambda: consumer).poll(consumer, 0.1)  # noqa: B023 - called within the turn
        in_force = store.in_force
        assert in_force is not None
        assert (store.table, in_force.canary) == (canary, None)
    poll(store, answer(200, msgspec.json.encode(canary)))
    assert store.in_force == canary


def test_a_table_that_the_deployer_did_not_sign_is_refused_wherever_it_comes_from(tmp_path: Path):
    deployer, stranger = Signer(generate_key()), Signer(generate_key())
    store = RoutingStore(tmp_path / "routing.json", "heliotrope", verifier=Verifier([deployer.public_key]))
    good = sign_table(make_routing(make_route("1"), generation=1), deployer)
    assert store.offer(good)
    canary = {"canary": make_route("2"), "canary_percent": 100.0}
    forged = make_routing(make_route("1"), generation=2**62, **canary)
    for table in (
        forged,
        sign_table(forged, stranger),
        msgspec.structs.replace(good, generation=2**62),
        msgspec.structs.replace(good, epoch=1),
        msgspec.structs.replace(good, champion=make_route("2")),
        msgspec.structs.replace(good, canary=make_route("2"), canary_percent=100.0),
        msgspec.structs.replace(forged, signature=good.signature),
        msgspec.structs.replace(forged, signature="x:y"),
    ):
        assert not store.offer(table)
        (tmp_path / "planted.json").write_bytes(msgspec.json.encode(table))
        again = RoutingStore(tmp_path / "planted.json", "heliotrope", verifier=Verifier([deployer.public_key]))
        again.load()
        assert again.table is None
    assert store.table == good
    assert store.offer(sign_table(make_routing(make_route("3"), generation=2), deployer))


def test_after_a_restore_older_generations_of_a_new_epoch_are_taken(tmp_path: Path):
    store = RoutingStore(tmp_path / "routing.json", "heliotrope")
    store.offer(make_routing(make_route("9"), generation=90))
    assert not store.offer(make_routing(make_route("7"), generation=70))
    restored = make_routing(make_route("7"), generation=71, epoch=1_790_000_000)
    assert store.offer(restored)
    assert not store.offer(make_routing(make_route("9"), generation=91))
    assert store.table == restored
