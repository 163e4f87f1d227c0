"""Apache Kafka for the tests of this folder, started once for each shape; `make test-kafka` runs them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.servers.kafka_cluster import KafkaCluster, KafkaMissing, find_libraries
from shared.bus.access import SERVICES
from tests.integration.conftest import sessions

__all__ = ["sessions"]

HERE = Path(__file__).parent
Report = Callable[[str], None]
"""Says a measured figure on the terminal, also of a test that passed."""


@pytest.fixture
def report(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Report:
    def write(words: str) -> None:
        with capfd.disabled():
            sys.stdout.write(f"\n  {request.node.name}: {words}\n")

    return write


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session", autouse=True)
def _kafka_is_here() -> None:
    try:
        find_libraries()
    except KafkaMissing as missing:
        pytest.exit(f"test-kafka: {missing}", returncode=1)


@pytest.fixture(scope="session")
def one_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """An open broker."""
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-one")).start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three brokers behind SASL_SSL; each service has a user, and nobody but the administrator has a right."""
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-secured"), brokers=3, users=list(SERVICES)).start()
    yield cluster
    cluster.stop()


@pytest.fixture
def kafka_bootstrap(one_broker: KafkaCluster) -> str:
    """In place of the embedded broker: tests of the bus that are imported here run against Apache Kafka."""
    return one_broker.bootstrap_servers
