"""Brokers and curators are killed under load: nothing acknowledged is lost, nothing counts twice."""

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.curator.history import make_history
from bench.curator.tables import store
from local.connections import Connections
from local.servers.kafka_cluster import KafkaCluster
from local.servers.postgres import create_database, drop_database
from local.topics import load_plans
from shared.bus.limits import open_admin
from shared.bus.topics import ensure_topics
from tests.faults.curator.test_killed_curator import read_ids, read_state
from tests.kafka.conftest import Report
from tests.kafka.crew import Crew, Writers, wait_until_stored

SEED = 7
MEMBERS = 3


@pytest.fixture(scope="module")
def three_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-three"), brokers=3).start()
    yield cluster
    cluster.stop()


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [("range,roundrobin",), ("cooperative-sticky",), ("cooperative-sticky", "static")])
def test_brokers_and_curators_killed_under_load_lose_and_repeat_nothing(
    three_brokers: KafkaCluster,
    topic_prefix: str,
    stores: Connections,
    migrated_template: str,
    tmp_path: Path,
    report: Report,
    options: tuple[str, ...],
):
    prompts = 1_000
    names = [f"{topic_prefix.rstrip('.')}_{name}" for name in ("shop", "undisturbed")]
    server = stores.database_server_url
    shop = create_database(server, names[0], template=migrated_template)
    undisturbed = create_database(server, names[1], template=migrated_template)
    ensure_topics(open_admin(three_brokers.bootstrap_servers), load_plans(topic_prefix))
    history = list(make_history(prompts, SEED))
    rng, kills, started = random.Random(SEED), {"broker": 0, "curator": 0}, time.monotonic()
    crew = Crew(shop, three_brokers, topic_prefix, tmp_path, MEMBERS, *options)
    writers = Writers(three_brokers, topic_prefix, history, threads=8, pause=0.1)
    with closing(crew), closing(writers):
        for node in three_brokers.nodes:
            time.sleep(4)
            three_brokers.kill(node)
            for _ in range(2):
                time.sleep(rng.uniform(2, 5))
                crew.replace(rng.randrange(MEMBERS))
                kills["curator"] += 1
            three_brokers.start_node(node)
            kills["broker"] += 1
        while not writers.are_done():
            assert time.monotonic() - started < 300
            time.sleep(0.5)
        wait_until_stored(shop, len(history), 120)
        seconds = time.monotonic() - started
    store(undisturbed, prompts, SEED)
    sent = {str(getattr(event, "event_id", None) or event.interaction_id) for event in history}
    found = read_ids(shop)
    lost, twice = len(sent - set(found)), len(found) - len(set(found))
    report(
        f"{len(history)} events acknowledged, {writers.refusals} refusals sent again, {kills['broker']} brokers and "
        f"{kills['curator']} of {MEMBERS} curators killed in {seconds:.0f} s: lost {lost}, twice {twice}"
    )
    assert (lost, twice) == (0, 0)
    assert read_state(shop, tmp_path / "shop") == read_state(undisturbed, tmp_path / "undisturbed")
    for name in names:
        drop_database(server, name)
