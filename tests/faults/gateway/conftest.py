"""The edge of a deployment, small: Postgres and a broker, one model server, one gateway."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from shared.auth import create_key
from shared.bus.kafka import create_topics
from tests.builders import make_route, make_routing
from tests.faults.gateway.edge import Edge, Victim, find_free_port


@pytest.fixture
def edge(database_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Iterator[Edge]:
    """A gateway that has a routing table on disk, in front of a model that takes 150 ms for ten tokens."""
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix)
    engine = create_engine(database_url)
    with Session(engine) as session, session.begin():
        key = create_key(session, "faults", "frontend")
    engine.dispose()
    model_port, gateway_port = find_free_port(), find_free_port()
    model = Victim([sys.executable, "-m", "bench.gateway.mock_model", str(model_port)], model_port)
    table = make_routing(make_route(base_url=f"http://127.0.0.1:{model_port}/v1", model="mock"))
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "routing.json").write_bytes(msgspec.json.encode(table))
    environment = {
        "HELIOTROPE_HOME": str(tmp_path),
        "HELIOTROPE_PORT": str(gateway_port),
        "HELIOTROPE_DATABASE_URL": database_url,
        "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "HELIOTROPE_TOPIC_PREFIX": topic_prefix,
        "HELIOTROPE_USER_HASH_SECRET": "a hash secret of tests",
        "HELIOTROPE_FEEDBACK_TOKEN_SECRET": "a token secret of tests",
        "HELIOTROPE_GATEWAY_DEPLOYER_URL": "http://127.0.0.1:9",
        "HELIOTROPE_GATEWAY_USER_REQUESTS_PER_SECOND": "0",
        "HELIOTROPE_LOG_LEVEL": "ERROR",
    }
    gateway = Victim([sys.executable, "-m", "services.gateway"], gateway_port, environment)
    model.start()
    gateway.start()
    yield Edge(gateway, model, tmp_path, key, kafka_bootstrap, topic_prefix)
    gateway.stop()
    model.kill()
